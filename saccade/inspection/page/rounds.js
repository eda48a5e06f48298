// How a model that writes all positions at once wrote its translation: one round, or several.

/** The steps of decoding: of search, or the rounds of a model that writes at once. */
function stepsOf(record) {
  return record.search ? record.search.steps : record.rounds || [];
}

function roundsView(record) {
  const { rounds, slots } = record;
  const round = rounds[state.step], path = new Set((slots || []).flat());
  if (!round.pieces.length) return element("div", {}, fertilityTable(), notice(t("empty")));
  return element("div", {},
    record.given ? element("p", { class: "notice", text: t("givenRounds") }) : null,
    rounds.length > 1 ? player(rounds.length) : null,
    element("p", { class: "faint", text: t(rounds.length > 1 ? "roundsHint" : slots ? "slotsHint" : "roundHint") }),
    fertilityTable(), positionsOf(round, slots ? path : null),
    slots ? element("p", { class: "readout", text: `${t("output")}: ${record.hypotheses[0].pieces.join(" ")}` }) : null,
    element("div", { class: "beside" },
      element("div", {}, element("h2", { text: t("positionCandidates", state.place + 1) }), roundCandidates(round)),
      element("div", {}, element("h2", { text: t("positionAttention") }), record.given ? element("p", { class: "faint", text: t("givenAttention") }) : stepAttention(state.place))));
}

/** The tokens at all positions with their probabilities. path: the positions that the output is made of. */
function positionsOf(round, path) {
  return element("div", { class: "tokens", role: "group", "aria-label": t("positions") }, ...round.pieces.map((piece, place) => {
    const framed = path === null ? round.written[place] : path.has(place);
    const chance = round.log_probs[place] === null ? "–" : Math.exp(round.log_probs[place]).toFixed(2);
    return element("button", {
      class: `token place${framed ? " written" : ""}`, type: "button", "data-key": `place ${place}`,
      "aria-pressed": String(place === state.place), title: `${place + 1}: ${piece}, ${chance}`, onclick: () => change({ place }),
    }, element("span", { text: shortened(piece, 16) }), element("span", { class: "share", text: chance }));
  }));
}

/** What the round could have written at the position that is chosen. */
function roundCandidates(round) {
  const candidates = round.candidates[state.place] || [];
  if (!candidates.length) return element("p", { class: "faint", text: t("notWritten") });
  const rows = candidates.map(({ piece, log_prob: logProb }) => element("tr", { class: piece === round.pieces[state.place] ? "chosen" : "" },
    element("td", { text: piece }), element("td", { class: "number", text: Math.exp(logProb).toFixed(4) })));
  return element("table", { id: "candidates" }, element("tr", {}, ...["piece", "probability"].map((key) => element("th", { text: t(key) }))), ...rows);
}
