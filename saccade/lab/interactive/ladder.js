// The six rungs of the ladder on one number after the other. The translations come from the trained models.

Object.assign(state, { number: 0 });

/** The words of a translation, those that differ from the reference at their place marked. */
function compared(written, reference) {
  const right = reference.split(" "), said = written ? written.split(" ") : [];
  return element("td", { class: "wraps" }, ...said.flatMap((word, place) => [
    element("span", { text: word, class: word === right[place] ? null : "wrong" }), document.createTextNode(" ")]),
    said.length ? null : element("span", { class: "faint", text: t("nothing") }));
}

const move = (by) => change({ number: (state.number + by + DATA.sources.length) % DATA.sources.length });

open({
  texts: {
    en: { title: "The ladder", about: "Six models, each with one part more than the one before, trained alike on English and German number words. Words that are wrong at their place are marked.",
      number: "Number", rung: "Rung", adds: "What it adds", output: "Translation", bleu: "BLEU", reference: "right", nothing: "(nothing)", previous: "Previous", next: "Next",
      rungs: ["attention alone", "positions", "self-attention, no mask", "the mask", "several heads, feed-forward", "residual connections, norms: the Transformer"],
      moreKeys: [["n  b", "next number, previous number"]] },
    zh: { title: "阶梯", about: "六个模型，每个比前一个多一个部件，用同样的方式在英德数字词上训练。位置上不正确的词有标记。",
      number: "数字", rung: "级", adds: "新增部件", output: "译文", bleu: "BLEU", reference: "正确", nothing: "（空）", previous: "上一个", next: "下一个",
      rungs: ["只有注意力", "位置", "自注意力，无掩码", "掩码", "多头与前馈", "残差与归一化：即 Transformer"],
      moreKeys: [["n  b", "下一个数字、上一个数字"]] },
  },
  controls: () => {
    const list = element("select", { "data-key": "number", "aria-label": t("number"), onchange: (event) => change({ number: event.target.selectedIndex }) },
      ...DATA.sources.map((text) => element("option", { text })));
    list.selectedIndex = state.number;
    const button = (key, act) => element("button", { type: "button", text: t(key), "data-key": key, onclick: act });
    return [element("label", {}, element("span", { text: t("number") }), list), button("previous", () => move(-1)), button("next", () => move(1))];
  },
  view: () => {
    const reference = DATA.references[state.number];
    const rows = DATA.written.map((outputs, rung) => element("tr", {},
      element("td", { text: String(rung + 1) }), element("td", { text: (rung ? "+ " : "") + t("rungs")[rung] }),
      compared(outputs[state.number], reference), element("td", { class: "number", text: DATA.bleu[rung].toFixed(1) })));
    const head = ["rung", "adds", "output", "bleu"].map((key) => element("th", { text: t(key) }));
    return [element("div", { class: "scroll" }, element("table", { id: "rungs" }, element("tr", {}, ...head), ...rows,
      element("tr", {}, element("td", { text: "" }), element("td", { class: "faint", text: t("reference") }), element("td", { class: "wraps", text: reference }), element("td", {}))))];
  },
  keys: { n: () => move(1), b: () => move(-1) },
});
