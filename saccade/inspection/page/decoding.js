// The search for the translation, step by step: its candidates, the tree of hypotheses, and attention.

const MARKS = { kept: "✓", finished: "■", dropped: "✗" };
let timer = null;

function decodingView() {
  const record = RECORDS[state.record];
  if (record.rounds) return roundsView(record);
  if (!record.search) return notice(t("absentSearch")[record.absent.search] || t("undefined"));
  const { steps } = record.search;
  const result = record.hypotheses[0] ? record.hypotheses[0].path : [];
  return element("div", {},
    record.given ? element("p", { class: "notice", text: t("givenNote") }) : null,
    player(steps.length),
    element("div", { class: "beside" },
      element("div", {}, element("h2", { text: t("candidates") }), candidateTable(steps, result)),
      element("div", {}, element("h2", { text: t("stepAttention") }), stepAttention(state.step))),
    element("p", { class: "faint", text: t("tree") }),
    treeOf(steps, result),
    element("h2", { text: t("hypotheses") }), hypothesisTable(record.hypotheses));
}

function player(count) {
  const name = RECORDS[state.record].search ? "step" : "round";
  const button = (key, sign, act, off = false) => element("button", { type: "button", text: sign, "aria-label": t(key), title: t(key), "data-key": key,
    onclick: act, disabled: off ? "" : undefined });
  const slider = element("input", { type: "range", min: "1", max: String(count), value: String(state.step + 1),
    "aria-label": t(name, state.step + 1, count), "data-key": "slider", oninput: (event) => stepTo(Number(event.target.value) - 1) });
  return element("div", { class: "player" },
    button("first", "|◀", () => stepTo(0)), button("back", "−1", () => stepTo(state.step - 1)),
    element("button", { type: "button", text: timer ? "❚❚" : "▶", "aria-label": t(timer ? "pause" : "play"), title: t(timer ? "pause" : "play"), "data-key": "play", onclick: togglePlay }),
    button("next", "+1", () => stepTo(state.step + 1)), button("last", "▶|", () => stepTo(count - 1)),
    slider, element("span", { id: "step", "aria-live": "polite", text: t(name, state.step + 1, count) }));
}

function stepTo(step) {
  change(RECORDS[state.record].search ? { step, token: step } : { step });
}

function togglePlay() {
  if (timer) { stopPlay(); return draw(); }
  const steps = stepsOf(RECORDS[state.record]);
  if (state.step === steps.length - 1) state.step = -1;
  timer = setInterval(() => {
    if (state.step >= steps.length - 1 || state.view !== "decoding") { stopPlay(); draw(); } else stepTo(state.step + 1);
  }, 700);
  stepTo(state.step + 1);
}

function stopPlay() {
  clearInterval(timer);
  timer = null;
}

/** The pieces of the hypothesis that stands at a place after a step. */
function prefixOf(steps, step, place) {
  const pieces = [];
  for (let number = step; number >= 0; number--) {
    const found = steps[number].find((one) => one.place === place);
    if (!found) break;
    pieces.unshift(found.piece);
    place = found.parent;
  }
  return pieces;
}

function candidateTable(steps, result) {
  const candidates = steps[state.step];
  const best = candidates.length ? candidates[0].total : 0;
  const rows = candidates.map((one, index) => {
    const prefix = state.step ? prefixOf(steps, state.step - 1, one.parent) : [];
    const ending = prefix.slice(-3).join("");
    return element("tr", { class: `${one.fate}${result[state.step] === index ? " chosen" : ""}` },
      element("td", { class: "prefix", text: prefix.length ? `${prefix.length > 3 ? "…" : ""}${ending}` : t("start"), title: prefix.join("") }),
      element("td", { text: one.piece }),
      element("td", { text: `${MARKS[one.fate]} ${t(one.fate)}` }),
      element("td", { class: "number", text: Math.exp(one.log_prob).toFixed(4) }),
      element("td", { class: "number", text: one.total.toFixed(3) }),
      element("td", { class: "number", text: (one.total - best).toFixed(3) }));
  });
  const names = ["continues", "piece", "fate", "probability", "total", "behind"];
  return element("div", { class: "scroll" }, element("table", { id: "candidates" },
    element("tr", {}, ...names.map((name) => element("th", { text: t(name) }))), ...rows));
}

/** The tree: a column for each step, a box for each hypothesis kept or finished, and all of the step shown. */
function treeOf(steps, result) {
  const wide = 134, high = 30, rowsOf = steps.map((step, number) => step.map((one, index) => ({ one, index }))
    .filter(({ one, index }) => one.fate !== "dropped" || number === state.step || result[number] === index));
  const rows = Math.max(...rowsOf.map((list) => list.length));
  const width = wide * steps.length + 10, height = high * rows + 12;
  const svg = shape("svg", { width, height, role: "img", "aria-label": t("tree") });
  svg.append(shape("rect", { class: "now", x: 4 + wide * state.step, y: 0, width: wide, height }));
  const placed = rowsOf.map((list) => new Map(list.map(({ one, index }, row) => [index, { one, row }])));
  const edges = [], nodes = [];
  placed.forEach((list, number) => list.forEach(({ one, row }, index) => {
    const x = 10 + wide * number, y = 8 + high * row, chosen = result[number] === index;
    if (number) {
      const parent = [...placed[number - 1].values()].find((other) => other.one.place === one.parent);
      const from = parent ? 8 + high * parent.row + 11 : 19;
      const both = chosen && parent && placed[number - 1].get(result[number - 1]) === parent;
      edges.push(shape("path", { class: `edge${both ? " chosen" : ""}`, d: `M${x - 20} ${from} C${x - 10} ${from} ${x - 10} ${y + 11} ${x} ${y + 11}` }));
    }
    const group = shape("g", { class: `node ${one.fate}${chosen ? " chosen" : ""}` });
    group.append(shape("rect", { x, y, width: wide - 20, height: 22, rx: 4 }),
      shape("text", { x: x + 5, y: y + 15 }, `${MARKS[one.fate]} ${shortened(one.piece, 6)} ${one.total.toFixed(1)}`));
    group.append(shape("title", {}, `${one.piece}: ${one.total.toFixed(3)}`));
    group.addEventListener("click", () => stepTo(number));
    nodes.push(group);
  }));
  svg.append(...edges, ...nodes);
  const node = element("div", { class: "tree", tabindex: "0", "data-key": "tree" }, svg);
  requestAnimationFrame(() => { node.scrollLeft = wide * (state.step + 0.5) - node.clientWidth / 2; });
  return node;
}

function hypothesisTable(hypotheses) {
  const rows = hypotheses.map((one) => element("tr", {},
    element("td", { class: "number", text: one.score.toFixed(4) }), element("td", { class: "number", text: one.log_prob.toFixed(4) }),
    element("td", { class: "wraps", text: one.text })));
  return element("table", {}, element("tr", {}, ...[t("score"), t("total"), ""].map((text) => element("th", { text }))), ...rows);
}

/** The source tokens with the weights of the token at a place of the translation. */
function stepAttention(place) {
  const kinds = kindsOf(state.record);
  if (!kinds.includes("cross")) return element("p", { class: "faint", text: t("absentMaps") });
  const layers = layersOf(state.record, "cross"), layer = layers.includes(state.layer) ? state.layer : layers[layers.length - 1];
  const map = chosenMap(state.record, { kind: "cross", layer, join: false });
  if (!map || place >= map.rows) return element("p", { class: "faint", text: t("undefined") });
  const row = map.weights.subarray(place * map.columns, (place + 1) * map.columns);
  return element("div", {}, element("p", { class: "faint", text: map.queries[place] }),
    barTable(map.keys, [{ values: [...row], most: 1 }]));
}
