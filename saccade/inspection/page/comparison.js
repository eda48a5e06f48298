// Two records side by side, and the difference of their weights if their tokens are the same.

function comparisonView() {
  if (RECORDS.length < 2) return notice(t("oneRecord"));
  const pair = [state.record, state.other];
  const beside = pair.map(besideMap), maps = beside.map(({ map }) => map);
  const readout = element("p", { class: "readout", "aria-live": "polite" });
  const texts = element("div", {}, stripOf(),
    element("div", { class: "pair" }, ...pair.map((record, side) => outputOf(record, pair[1 - side]))));
  if (!maps[0]) return element("div", {}, texts, notice(t("absentMaps")));
  if (!maps[1]) return element("div", {}, texts, notice(t("noOther")));
  if (!maps[0].rows || !maps[1].rows) return element("div", {}, texts, notice(t("empty")));
  const most = Math.max(largest(maps[0]), largest(maps[1]), 0.01), same = sameLabels(...maps);
  const matrices = [];
  const layout = layoutOf(maps, Math.max((roomOf() - 28) / (roomOf() > 760 ? 2 : 1), 200));
  const add = (map, title, options) => {
    const own = matrixOf(map, { label: `${title}. ${t("matrixLabel")}`, layout, ...options, tell: (cell) => {
      if (same) matrices.forEach((other) => other.point(cell));
      readout.textContent = cell ? spoken(maps, same ? null : map, cell) : "";
    } });
    matrices.push(own);
    return element("figure", {}, element("figcaption", { text: title }), own.node, scaleOf(options.most, options.signed));
  };
  const titles = pair.map((record, side) => `${RECORDS[record].name}${beside[side].exact ? "" : `: ${t("layerNumber", beside[side].layer)}, ${t("layerMean")}`}`);
  const figures = maps.map((map, side) => add(map, titles[side], { most }));
  if (same) figures.push(differenceFigure(maps, add));
  return element("div", {}, texts, same ? null : element("p", { class: "notice", text: t("otherTokens") }), readout,
    element("div", { class: "pair" }, ...figures));
}

function differenceFigure([one, other], add) {
  const weights = one.weights.map((weight, i) => other.weights[i] - weight);
  const mean = weights.reduce((sum, weight) => sum + Math.abs(weight), 0) / weights.length;
  const most = Math.max(...weights.map(Math.abs), 0.01);
  return add({ ...one, weights }, `${t("difference")}: ${t("meanDifference", mean.toFixed(4))}`, { most, signed: true });
}

/** What a cell says: its own weight, or those of both maps and their difference. */
function spoken(maps, alone, { row, column }) {
  const place = row * (alone || maps[0]).columns + column, first = alone || maps[0];
  const weights = (alone ? [alone] : maps).map((map) => map.weights[place]);
  const numbers = weights.map((weight) => weight.toFixed(4)).join(" → ");
  const change = alone ? "" : ` (${weights[1] < weights[0] ? "−" : "+"}${Math.abs(weights[1] - weights[0]).toFixed(4)})`;
  return t("attends", first.queries[row], first.keys[column], numbers + change);
}

/** The same map in every record, such as the checkpoints of a run, if there are more than two. */
function stripOf() {
  if (RECORDS.length < 3) return null;
  const maps = RECORDS.map((_, record) => chosenMap(record));
  return element("div", {}, element("p", { class: "faint", text: t("everyRecord") }), scaleOf(1), element("div", { class: "strip" },
    ...maps.map((map, record) => element("button", {
      class: "head", type: "button", "data-key": `strip ${record}`, "aria-pressed": String(record === state.other),
      "aria-label": `${t("other")}: ${RECORDS[record].name}`, onclick: () => change({ other: record }),
    }, map ? pixels(map, 1) : element("canvas"), element("span", { class: "caption", text: RECORDS[record].name })))));
}

/** The output of a record, with the pieces marked that the other one does not have in this order. */
function outputOf(record, other) {
  const { name, source } = RECORDS[record];
  const pieces = writtenBy(RECORDS[record]).pieces, shared = commonPlaces(pieces, writtenBy(RECORDS[other]).pieces);
  return element("figure", {}, element("figcaption", { text: name }), source === null ? null : element("p", { class: "faint", text: source }),
    element("p", {}, ...pieces.map((piece, place) => element("span", { class: shared.has(place) ? "" : "differs", text: `${piece} ` }))));
}

/** The places of one list that belong to its longest common subsequence with the other. */
function commonPlaces(one, other) {
  const lengths = Array.from({ length: one.length + 1 }, () => new Uint16Array(other.length + 1));
  for (let i = one.length - 1; i >= 0; i--) {
    for (let j = other.length - 1; j >= 0; j--) {
      lengths[i][j] = one[i] === other[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  const places = new Set();
  for (let i = 0, j = 0; i < one.length && j < other.length;) {
    if (one[i] === other[j]) { places.add(i); i++; j++; } else if (lengths[i + 1][j] >= lengths[i][j + 1]) i++; else j++;
  }
  return places;
}
