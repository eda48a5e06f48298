// What an output token rests on, by gradient and erasure, beside the attention of the chosen head.

function attributionView() {
  const record = RECORDS[state.record];
  if (!record.attributions.length) return notice(t("absentAttributions")[record.absent.attributions] || t("undefined"));
  if (!writtenBy(record).pieces.length) return notice(t("empty"));
  const { side } = record.attributions[0];
  const kind = comparedKind(record);
  // A token of a text rests on those before it alone, as far as they are not in memory.
  const [first, end] = side === "source" ? [0, Infinity] : [record.memory, record.memory + state.token + 1];
  const keys = record.tokens[side].pieces.slice(first, end);
  const map = kindsOf(state.record).includes(kind) ? attributionMap(kind) : null;
  const picked = element("div", { class: "tokens", role: "group", "aria-label": t("choose") },
    ...writtenBy(record).pieces.map((piece, place) => element("button", {
      class: "token", type: "button", text: piece, "data-key": `output ${place}`, "aria-pressed": String(place === state.token),
      title: record.log_probs ? t("logProb", record.log_probs[place]) : "", onclick: () => change(record.search ? { token: place, step: place } : { token: place }),
    })));
  const columns = [];
  if (map) {
    const values = rowOf(record, map, state.token).slice(first, end);
    columns.push({ name: t("attention"), values, most: Math.max(...values.map((value) => value || 0), 1e-9) });
  }
  for (const one of record.attributions) {
    const values = one.values[state.token].slice(first, end);
    columns.push({ name: t(one.method), values, most: Math.max(...values.map((value) => Math.abs(value || 0)), 1e-9), signed: true });
  }
  return element("div", {}, element("p", { class: "faint", text: t("attributionNote") }), picked,
    first ? element("p", { class: "faint", text: t("memoryLeftOut", first) }) : null,
    barTable(keys, columns), correlationTables(record));
}

/** The kind of the maps whose rows stand beside the attributions. */
function comparedKind(record) {
  return record.source === null ? "decoder" : record.places ? "encoder" : "cross";
}

/** The weights of an output token: those of its row or of the place that it labels, or the mean over the slots
 *  that write it. */
function rowOf(record, map, token) {
  const rows = record.slots ? record.slots[token] : [record.places ? record.places[token] : token];
  const row = (number) => map.weights.subarray(number * map.columns, (number + 1) * map.columns);
  return Array.from({ length: map.columns }, (_, column) => rows.length ? rows.reduce((sum, number) => sum + row(number)[column], 0) / rows.length : null);
}

function attributionMap(kind) {
  const layers = layersOf(state.record, kind);
  const layer = layers.includes(state.layer) ? state.layer : layers[layers.length - 1];
  return chosenMap(state.record, { kind, layer, join: false });
}

/** Rows of bars: a name and one bar for each column. A signed bar grows from the middle, to the right if
 *  the value is positive. */
function barTable(names, columns) {
  const wide = columns.length > 1;
  const table = element("div", { class: "bars", style: { "grid-template-columns": `minmax(40px, max-content) repeat(${columns.length}, minmax(0, 1fr))` } });
  if (wide) table.append(element("span", { class: "heading" }), ...columns.map((one) => element("span", { class: "heading", text: one.name })));
  names.forEach((name, place) => {
    table.append(element("span", { class: "name", text: shortened(name, 16), title: name }));
    for (const { values, most, signed } of columns) table.append(barOf(values[place], most, signed));
  });
  return table;
}

function barOf(value, most, signed) {
  const track = element("div", { class: signed ? "track signed" : "track" });
  if (value === null) return element("div", { class: "bar" }, track, element("b", { text: "–", title: t("undefined") }));
  const share = Math.min(Math.abs(value) / most, 1) * (signed ? 50 : 100);
  const left = signed ? (value < 0 ? 50 - share : 50) : 0;
  const digits = Math.abs(value).toFixed(most < 0.05 ? 5 : 3);
  const sign = !signed || Number(digits) === 0 ? "" : value < 0 ? "−" : "+";
  track.append(element("i", { class: value < 0 ? "against" : "", style: { left: `${left}%`, width: `${share}%` } }));
  return element("div", { class: "bar" }, track, element("b", { text: sign + digits, title: String(value) }));
}

/** The rank correlations of every head with each method; a head opens when it is selected. */
function correlationTables(record) {
  if (!record.attributions.some((one) => one.correlations.length)) return null;
  return element("div", {}, element("h2", { text: t("correlations") }), element("p", { class: "faint", text: t("correlationNote") }),
    element("div", { class: "pair" }, ...record.attributions.map((one) => element("figure", { class: "correlations" },
      element("figcaption", { text: t(one.method) }), element("div", { class: "scroll" }, element("table", {},
        ...one.correlations.map((row) => correlationRow(one.method, row))))))));
}

function correlationRow(method, { kind, layer, values }) {
  return element("tr", {}, element("th", { text: t("layerNumber", layer) }), ...values.map((value, place) => {
    const [red, green, blue] = shade(value || 0, true);
    const pale = 0.299 * red + 0.587 * green + 0.114 * blue > 140;
    return element("td", {}, element("button", {
      type: "button", text: value === null ? "–" : value.toFixed(2).replace("-0.00", "0.00").replace("-", "−"), "data-key": `rho ${method} ${layer} ${place}`,
      "aria-label": `${t("layerNumber", layer)}, ${t("headNumber", place + 1)}: ${value === null ? t("undefined") : value.toFixed(2)}`,
      "aria-pressed": "false", title: t("headNumber", place + 1),
      style: { background: `rgb(${red} ${green} ${blue})`, color: pale ? "#14181d" : "#ffffff",
        "border-color": kind === state.kind && layer === state.layer && place + 1 === state.head ? "currentColor" : "transparent" },
      onclick: () => change({ kind, layer, head: place + 1 }),
    }));
  }));
}
