// The race: four decoders write the translation of the same number, one call of their network a step.

const RACERS = Object.keys(DATA.steps);
Object.assign(state, { number: 0, step: 0, playing: null });

const longest = () => Math.max(...RACERS.map((racer) => DATA.steps[racer][state.number].length));

function stepTo(step) {
  change({ step: Math.max(0, Math.min(step, longest())) });
  if (state.step === longest()) stop();
}

function stop() {
  if (state.playing === null) return;
  clearInterval(state.playing);
  change({ playing: null });
}

function play() {
  if (state.playing !== null) { stop(); return; }
  if (state.step === longest()) change({ step: 0 });
  change({ playing: setInterval(() => stepTo(state.step + 1), 700) });
}

const move = (by) => { stop(); change({ number: (state.number + by + DATA.sources.length) % DATA.sources.length, step: 0 }); };

/** What a racer has written after the present step; words that are wrong in the end are marked. */
function writtenBy(racer) {
  const steps = DATA.steps[racer][state.number], now = Math.min(state.step, steps.length);
  const words = now ? steps[now - 1].split(" ").filter(Boolean) : [];
  const done = now === steps.length, right = DATA.references[state.number].split(" ");
  const listed = (shown, final) => shown.flatMap((word, place) => [
    element("span", { text: word, class: final && word !== right[place] ? "wrong" : null }), document.createTextNode(" ")]);
  if (racer !== "ctc" || !done) return element("td", { class: "wraps" }, ...listed(words, done));
  return element("td", { class: "wraps" }, element("span", { class: "faint" }, ...listed(words, false)), document.createTextNode("→ "),
    element("span", { "data-collapsed": "" }, ...listed(collapsed(words, "·"), true)));
}

open({
  texts: {
    en: { title: "The race of the decoders", about: "Four models, trained alike on number words, write the same number. Each step is one call of the decoder. ▢ is masked and will be predicted again. CTC writes “·” for its blank; what remains without repetitions and blanks stands behind the arrow.",
      number: "Number", start: "Start", back: "Back", next: "Step", play: "Play", pause: "Pause", step: "step {0} of {1}", model: "Model", written: "What stands there", steps: "steps", time: "ms a sentence", bleu: "BLEU", reference: "right", finished: "done",
      names: { recurrent: "recurrent", transformer: "Transformer", "mask-predict": "mask-predict", ctc: "CTC" },
      moreKeys: [["p", "play or pause"], ["→ ←", "step, back"], ["n  b", "next number, previous number"]] },
    zh: { title: "解码器赛跑", about: "四个模型用同样的方式在数字词上训练，现在写同一个数字。每一步是一次解码器调用。“▢”表示被遮住、将重新预测；“·”是 CTC 的空白符，箭头之后是去掉重复和空白后的结果。",
      number: "数字", start: "开头", back: "后退", next: "前进", play: "播放", pause: "暂停", step: "第 {0} 步，共 {1} 步", model: "模型", written: "已写出的内容", steps: "步数", time: "毫秒/句", bleu: "BLEU", reference: "正确", finished: "完成",
      names: { recurrent: "循环网络", transformer: "Transformer", "mask-predict": "mask-predict", ctc: "CTC" },
      moreKeys: [["p", "播放或暂停"], ["→ ←", "前进、后退"], ["n  b", "下一个数字、上一个数字"]] },
  },
  controls: () => {
    const list = element("select", { "data-key": "number", "aria-label": t("number"), onchange: (event) => { stop(); change({ number: event.target.selectedIndex, step: 0 }); } },
      ...DATA.sources.map((text) => element("option", { text })));
    list.selectedIndex = state.number;
    const button = (key, text, act) => element("button", { type: "button", text, "data-key": key, onclick: act });
    return [element("label", {}, element("span", { text: t("number") }), list), button("start", t("start"), () => { stop(); stepTo(0); }),
      button("back", t("back"), () => stepTo(state.step - 1)), button("play", t(state.playing === null ? "play" : "pause"), play), button("next", t("next"), () => stepTo(state.step + 1)),
      element("span", { class: "faint", id: "step", text: t("step", state.step, longest()) })];
  },
  view: () => {
    const head = ["model", "steps", "written", "time", "bleu"].map((key) => element("th", { text: t(key) }));
    const rows = RACERS.map((racer) => {
      const steps = DATA.steps[racer][state.number].length, done = state.step >= steps;
      return element("tr", { "data-racer": racer }, element("td", { text: page.texts[state.language].names[racer] }),
        element("td", { class: "number", "data-name": t("steps"), text: `${Math.min(state.step, steps)} / ${steps}${done ? " ✓" : ""}` }), writtenBy(racer),
        element("td", { class: "number", "data-name": t("time"), text: DATA.milliseconds[racer].toFixed(1) }), element("td", { class: "number", "data-name": t("bleu"), text: DATA.bleu[racer].toFixed(1) }));
    });
    const right = element("tr", {}, element("td", { class: "faint", text: t("reference") }), element("td", {}), element("td", { class: "wraps", text: DATA.references[state.number] }), element("td", {}), element("td", {}));
    return [element("div", { class: "scroll" }, element("table", { id: "race", class: "stacks", "aria-live": "polite" }, element("tr", {}, ...head), ...rows, right))];
  },
  keys: { p: play, ArrowRight: () => stepTo(state.step + 1), ArrowLeft: () => stepTo(state.step - 1), n: () => move(1), b: () => move(-1) },
});
