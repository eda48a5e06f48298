// What is being shown. `change` is the only way to another state; it draws the page again.

const state = {
  view: RECORDS[0].picture ? "picture" : "lines", record: 0, other: Math.min(1, RECORDS.length - 1), kind: null, layer: 0, head: "mean", join: false, words: true,
  token: 0, step: 0, place: 0, spot: 0, language: (navigator.language || "en").startsWith("zh") ? "zh" : "en",
  theme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light",
};

function change(changes) {
  Object.assign(state, changes);
  settle();
  draw();
}

/** Brings a state into the bounds of the record that it shows. */
function settle() {
  const kinds = kindsOf(state.record);
  if (!kinds.includes(state.kind)) state.kind = kinds[0] || null;
  const layers = state.kind ? layersOf(state.record, state.kind) : [];
  if (layers.length && !layers.includes(state.layer)) state.layer = layers[layers.length - 1];
  const heads = state.kind ? headsOf(state.record, state.kind, state.layer) : 0;
  if (typeof state.head === "number" && state.head > heads) state.head = Math.max(heads, 1);
  const record = RECORDS[state.record];
  state.token = Math.max(0, Math.min(state.token, writtenBy(record).pieces.length - 1));
  state.spot = Math.max(0, Math.min(state.spot, (record.picture ? record.picture.boxes.length : 1) - 1));
  state.place = Math.max(0, Math.min(state.place, (record.rounds ? record.rounds[0].pieces : record.tokens.target.pieces).length - 1));
  state.step = Math.max(0, Math.min(state.step, Math.max(stepsOf(record).length, 1) - 1));
}

/** The map that is chosen; a head "each" counts as the layer's mean where one map is shown. */
function chosenMap(record = state.record, changes = {}) {
  const { kind, layer, head, join } = { ...state, ...changes };
  return kind ? mapOf(record, kind, layer, head === "each" ? "mean" : head, join) : null;
}

/** The map of a record that can stand beside the one that is chosen in the present record: of the same kind, and
 *  of the same layer and head as far as the record has them; else of its last layer, and the mean of the layer. */
function besideMap(record) {
  const layers = layersOf(record, state.kind);
  if (!layers.length) return { map: null, exact: false };
  const layer = layers.includes(state.layer) ? state.layer : layers[layers.length - 1];
  const number = typeof state.head === "number" && state.head > headsOf(record, state.kind, layer);
  return { map: chosenMap(record, { layer, head: number ? "mean" : state.head }), exact: layer === state.layer && !number, layer };
}

/** The next of some values, or the previous one. */
function cycled(values, value, by) {
  const place = values.indexOf(value);
  return values[(place + by + values.length) % values.length];
}
