// Queries, keys and values with numbers that can be changed, and what attention makes of them.

const PRESETS = {
  record: { names: ["Name", "Age", "Sex", "Weight"], queries: ["Age"], scaled: false, causal: false,
    query: [[0, 1, 0, 0]], key: [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], value: [[0], [25], [1], [48]] },
  sharp: { names: ["Name", "Age", "Sex", "Weight"], queries: ["Age"], scaled: false, causal: false,
    query: [[0, 8, 0, 0]], key: [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], value: [[0], [25], [1], [48]] },
  sentence: { names: ["the", "cat", "sat"], queries: ["the", "cat", "sat"], scaled: true, causal: true,
    query: [[1, 0], [0, 2], [2, 1]], key: [[1, 1], [2, 0], [0, 2]], value: [[1, 0], [0, 1], [1, 1]] },
};

const copied = (table) => table.map((row) => [...row]);

function take(name) {
  const { query, key, value, ...rest } = PRESETS[name];
  change({ preset: name, ...rest, query: copied(query), key: copied(key), value: copied(value) });
}

/** A table of numbers; with `act` they can be edited, otherwise they are shaded. */
function tableOf(title, names, table, { act = null, shaded = false, heads = null, id }) {
  const most = Math.max(...table.flat().filter(Number.isFinite).map(Math.abs), 1e-9);
  const rows = table.map((row, i) => element("tr", {}, element("th", { scope: "row", text: names[i] }), ...row.map((value, j) => {
    if (!act) {
      const share = shaded && Number.isFinite(value) ? Math.abs(value) / most : 0;
      const [red, green, blue] = shade(share * 0.9);
      const dark = red * 0.3 + green * 0.6 + blue * 0.1 < 128;
      return element("td", { class: "cell", text: shown(value), "data-cell": `${id} ${i} ${j}`,
        style: shaded ? { background: `rgb(${red},${green},${blue})`, color: dark ? "#fff" : "#1b1f24" } : {} });
    }
    const field = element("input", { type: "number", step: "0.5", required: "", "data-key": `${id} ${i} ${j}`,
      "aria-label": `${title}, ${names[i]}, ${j + 1}`,
      oninput: (event) => { if (event.target.validity.valid && event.target.value !== "") act(i, j, Number(event.target.value)); } });
    field.value = value;
    return element("td", {}, field);
  })));
  const head = heads && element("tr", {}, element("th", {}), ...heads.map((text) => element("th", { class: "over", scope: "col", text })));
  return element("figure", { style: { margin: "0" } }, element("figcaption", { text: title }), element("table", {}, head, ...rows));
}

function edited(name) {
  return (i, j, value) => { state[name][i][j] = value; results(); };
}

/** Draws the results alone, so that the field that is being edited stays as it is. */
function results() {
  document.getElementById("results").replaceChildren(...resultsOf());
}

function resultsOf() {
  const { scores, masked, weights, output } = attention(state.query, state.key, state.value, state);
  return [
    tableOf(t("scores"), state.queries, scores, { heads: state.names, id: "scores" }),
    tableOf(`2. ${t(state.scaled ? "divided" : "undivided")}${state.causal ? t("masked") : ""}`, state.queries, masked, { heads: state.names, id: "masked" }),
    tableOf(t("weights"), state.queries, weights, { shaded: true, heads: state.names, id: "weights" }),
    tableOf(t("output"), state.queries, output, { id: "output" }),
  ];
}

open({
  texts: {
    en: { title: "Query, key, value", about: "Change a number and see what attention makes of it: scores, softmax, and the weighted sum of the values.",
      record: "The record of the notes", sharp: "The same with a larger query", sentence: "A sentence", scaled: "Divide by sqrt(d)", causal: "Hide the future",
      query: "Queries", key: "Keys", value: "Values", scores: "1. Scores: query · key", divided: "Divided by sqrt(d)", undivided: "Not divided", masked: ", future masked",
      weights: "3. Weights: softmax of each row", output: "4. Output: weights × values", results: "What attention computes",
      moreKeys: [["1 2 3", "examples"], ["s", "divide by sqrt(d) or not"], ["c", "hide the future or not"]] },
    zh: { title: "查询、键、值", about: "改动任意一个数，看注意力如何变化：得分、softmax，以及值的加权和。",
      record: "笔记里的记录", sharp: "同一记录，更大的查询", sentence: "一个句子", scaled: "除以 √d", causal: "遮住未来",
      query: "查询", key: "键", value: "值", scores: "1. 得分：查询 · 键", divided: "除以 √d", undivided: "不缩放", masked: "，遮住未来",
      weights: "3. 权重：逐行 softmax", output: "4. 输出：权重 × 值", results: "注意力的计算",
      moreKeys: [["1 2 3", "示例"], ["s", "是否除以 √d"], ["c", "是否遮住未来"]] },
  },
  controls: () => {
    if (!state.preset) Object.assign(state, { preset: "record", ...PRESETS.record, query: copied(PRESETS.record.query), key: copied(PRESETS.record.key), value: copied(PRESETS.record.value) });
    return [...Object.keys(PRESETS).map((name) => switchOf(name, t(name), state.preset === name, () => take(name))),
      switchOf("scaled", t("scaled"), state.scaled, (scaled) => change({ scaled })),
      switchOf("causal", t("causal"), state.causal, (causal) => change({ causal }))];
  },
  view: () => [
    element("div", { class: "parts" },
      tableOf(t("query"), state.queries, state.query, { act: edited("query"), id: "query" }),
      tableOf(t("key"), state.names, state.key, { act: edited("key"), id: "key" }),
      tableOf(t("value"), state.names, state.value, { act: edited("value"), id: "value" })),
    element("h2", { text: t("results") }), element("div", { class: "parts", id: "results", "aria-live": "polite" }, ...resultsOf()),
  ],
  keys: { 1: () => take("record"), 2: () => take("sharp"), 3: () => take("sentence"),
    s: () => change({ scaled: !state.scaled }), c: () => change({ causal: !state.causal }) },
});
