// The six rungs of the ladder, which translate any number as it is typed.

Object.assign(state, { number: DATA.numbers[0] });

const RUNGS = DATA.rungs.map((rung) => rungOf(rung, DATA.special));
const ids = (words, language) => words.map((word) => DATA.first + DATA.words[language].indexOf(word));

/** What each rung writes for a number, as words. */
function translations(number) {
  const source = [...ids(english(number, DATA.words.en), "en"), DATA.special.end];
  return RUNGS.map((rung) => rung.write(source).map((id) => DATA.words.de[id - DATA.first] || "").filter(Boolean));
}

/** The words of a translation, those that differ from the reference at their place marked. */
function compared(said, right) {
  return element("td", { class: "wraps" }, ...said.flatMap((word, place) => [
    element("span", { text: word, class: word === right[place] ? null : "wrong" }), document.createTextNode(" ")]),
    said.length ? null : element("span", { class: "faint", text: t("nothing") }));
}

const move = (by) => change({ number: Math.min(Math.max(state.number + by, DATA.least), DATA.most) });

/** The next or the previous of the numbers that no model was trained with. */
function unseen(by) {
  const place = DATA.numbers.indexOf(state.number);
  change({ number: DATA.numbers[place < 0 ? 0 : (place + by + DATA.numbers.length) % DATA.numbers.length] });
}

/** Draws the translations alone, so that the field that is being edited stays as it is. */
function results() {
  document.getElementById("result").replaceChildren(...resultOf());
}

function resultOf() {
  const right = german(state.number, DATA.words.de);
  const rows = translations(state.number).map((said, rung) => element("tr", {},
    element("td", { "data-name": t("rung"), text: String(rung + 1) }), element("td", { text: (rung ? "+ " : "") + t("rungs")[rung] }),
    compared(said, right), element("td", { class: "number", "data-name": t("bleu"), text: DATA.bleu[rung].toFixed(1) })));
  const head = ["rung", "adds", "output", "bleu"].map((key) => element("th", { text: t(key) }));
  return [element("p", { id: "source", text: english(state.number, DATA.words.en).join(" ") }),
    element("div", { class: "scroll" }, element("table", { id: "rungs", class: "stacks" }, element("tr", {}, ...head), ...rows,
      element("tr", {}, element("td", { text: "" }), element("td", { class: "faint", text: t("reference") }), element("td", { class: "wraps", text: right.join(" ") }), element("td", {}))))];
}

open({
  texts: {
    en: { title: "The ladder", about: "Six models, each with one part more than the one before, trained alike on about 3,000 English and German number words. They run in this page: type a number from 100 to 9,999. Words that are wrong at their place are marked.",
      number: "Number", rung: "Rung", adds: "What it adds", output: "Translation", bleu: "BLEU", reference: "right", nothing: "(nothing)", previous: "Previous unseen number", next: "Next unseen number",
      rungs: ["attention alone", "positions", "self-attention, no mask", "the mask", "several heads, feed-forward", "residual connections, norms: the Transformer"],
      moreKeys: [["n  b", "next, previous number that no model was trained with"], ["+  −", "number plus one, minus one"]] },
    zh: { title: "阶梯", about: "六个模型，每个比前一个多一个部件，用同样的方式在约 3000 个英德数字词上训练。模型就在本页里运行：请输入 100 到 9999 之间的数。位置上不正确的词有标记。",
      number: "数字", rung: "级", adds: "新增部件", output: "译文", bleu: "BLEU", reference: "正确", nothing: "（空）", previous: "上一个未见数字", next: "下一个未见数字",
      rungs: ["只有注意力", "位置", "自注意力，无掩码", "掩码", "多头与前馈", "残差与归一化：即 Transformer"],
      moreKeys: [["n  b", "下一个、上一个没有训练过的数字"], ["+  −", "数字加一、减一"]] },
  },
  controls: () => {
    const field = element("input", { type: "number", min: DATA.least, max: DATA.most, step: "1", required: "", "data-key": "number", "aria-label": t("number"),
      oninput: (event) => { if (event.target.validity.valid) { state.number = Number(event.target.value); results(); } } });
    field.value = state.number;
    const button = (key, act) => element("button", { type: "button", text: t(key), "data-key": key, onclick: act });
    return [element("label", {}, element("span", { text: t("number") }), field), button("previous", () => unseen(-1)), button("next", () => unseen(1))];
  },
  view: () => [element("div", { id: "result", "aria-live": "polite" }, ...resultOf())],
  keys: { n: () => unseen(1), b: () => unseen(-1), "+": () => move(1), "-": () => move(-1) },
});
