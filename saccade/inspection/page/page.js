// The frame of the page: header, controls, tabs, keyboard.

const VIEWS = {
  lines: linesView, matrix: matrixView, overview: overviewView, decoding: decodingView,
  attribution: attributionView, alignment: alignmentView, comparison: comparisonView, picture: pictureView,
};
const NAMES = Object.keys(VIEWS).filter((name) => name !== "picture" || RECORDS.some((one) => one.picture));

function draw() {
  const held = document.activeElement && document.activeElement.dataset.key;
  document.documentElement.lang = state.language === "zh" ? "zh-Hans" : "en";
  document.documentElement.dataset.theme = state.theme;
  document.title = `Saccade: ${t("title")}`;
  document.getElementById("header").replaceChildren(...headerOf());
  document.getElementById("tabs").replaceChildren(...tabsOf());
  document.getElementById("controls").replaceChildren(...controlsOf());
  document.getElementById("view").replaceChildren(VIEWS[state.view]());
  const again = held && [...document.querySelectorAll("[data-key]")].find((node) => node.dataset.key === held);
  if (again && again !== document.activeElement) again.focus({ preventScroll: true });
}

function headerOf() {
  const record = RECORDS[state.record];
  const { kind, decoder, parameters } = record.model;
  const facts = [record.name, kind && (decoder ? `${kind}, ${decoder}` : kind), parameters && t("parameters", parameters.toLocaleString("en"))];
  const button = (key, text, act) => element("button", { type: "button", text, "data-key": key, onclick: act });
  const top = element("div", { class: "top" }, element("h1", { text: `Saccade · ${t("title")}` }),
    element("span", { class: "facts faint", text: facts.filter(Boolean).join(" · ") }),
    element("span", { class: "buttons" }, button("language", t("language"), turnLanguage),
      button("theme", t(state.theme === "dark" ? "themeLight" : "theme"), turnTheme), button("help", "?", showHelp)));
  const sum = record.log_probs && record.log_probs.reduce((total, one) => total + one, 0);
  const texts = element("dl", { class: "texts" });
  if (record.source !== null) texts.append(element("dt", { text: t("source") }), element("dd", { text: record.source }));
  const name = labelling(record) ? "labels" : record.source === null ? "text" : record.given ? "given" : "output";
  texts.append(element("dt", { text: t(name) }), element("dd", {}, document.createTextNode(record.output),
    record.log_probs ? element("span", { class: "faint", text: ` (${t("logProb", sum.toFixed(3))})` }) : null));
  top.querySelector("[data-key=help]").setAttribute("aria-label", t("help"));
  return [top, texts];
}

function tabsOf() {
  const list = document.getElementById("tabs");
  list.setAttribute("role", "tablist");
  return NAMES.map((name, place) => element("button", {
    type: "button", role: "tab", text: t(name), "data-key": `tab ${name}`, "aria-selected": String(name === state.view),
    tabindex: name === state.view ? "0" : "-1", "aria-controls": "view", "aria-keyshortcuts": String(place + 1), onclick: () => change({ view: name }),
    onkeydown: (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      const next = cycled(NAMES, name, by);
      change({ view: next });
      document.querySelector(`[data-key="tab ${next}"]`).focus();
    },
  }));
}

/** A list with its name; values are [value, text]. */
function selectOf(key, values, value, act) {
  const list = element("select", { "data-key": key, onchange: (event) => act(values[event.target.selectedIndex][0]) },
    ...values.map(([, text]) => element("option", { text })));
  list.selectedIndex = values.findIndex(([own]) => own === value);
  return element("label", {}, element("span", { text: t(key) }), list);
}

function controlsOf() {
  const { record, kind, layer, head, view } = state;
  const found = [], records = RECORDS.map((one, number) => [number, one.name]);
  if (RECORDS.length > 1) found.push(selectOf("record", records, record, (value) => change({ record: value })));
  if (RECORDS.length > 1 && view === "comparison") found.push(selectOf("other", records, state.other, (value) => change({ other: value })));
  if (!kind) return found;
  const own = ["decoding", "alignment"].includes(view) ? ["cross"] : view === "attribution" ? [comparedKind(RECORDS[record])]
    : view === "picture" ? picturedKinds(record) : kindsOf(record);
  const shown = own.includes(kind) ? kind : own[0];
  const kinds = kindsOf(record).filter((one) => own.includes(one)).map((one) => [one, t(RECORDS[record].source === null ? "reading" : labelling(RECORDS[record]) ? `${one}Labels` : one)]);
  if (!kinds.length) return found;
  found.push(selectOf("kind", kinds, shown, (value) => change({ kind: value })));
  if (view === "overview") return [...found, joinBox()];
  const layers = layersOf(record, shown);
  if (head !== "all") found.push(selectOf("layer", layers.map((one) => [one, String(one)]), layer, (value) => change({ kind: shown, layer: value })));
  const heads = Array.from({ length: headsOf(record, shown, layers[0]) }, (_, i) => [i + 1, t("headNumber", i + 1)]);
  if (view === "lines" && heads.length > 1) heads.push(["each", t("everyHead")]);
  heads.push(["mean", t("layerMean")], ["all", t("allMean")]);
  found.push(selectOf("head", heads, head === "each" && view !== "lines" ? "mean" : head, (value) => change({ kind: shown, head: value })));
  if (["lines", "matrix", "comparison"].includes(view)) found.push(joinBox());
  if (view === "alignment") found.push(joinBox("words"));
  const map = view === "comparison" || !own.includes(kind) ? null : chosenMap();
  if (map) {
    const { entropy, distance } = statisticsOf(map);
    found.push(element("span", { class: "stats", id: "stats", text: t("stats", entropy.toFixed(2), distance.toFixed(2)) }));
  }
  return found;
}

function joinBox(key = "join") {
  const box = element("input", { type: "checkbox", "data-key": "join", onchange: () => change({ [key]: !state[key] }) });
  box.checked = state[key];
  return element("label", {}, box, element("span", { text: t("join") }));
}

function turnLanguage() { change({ language: state.language === "en" ? "zh" : "en" }); }
function turnTheme() { change({ theme: state.theme === "dark" ? "light" : "dark" }); }

function showHelp() {
  const dialog = document.getElementById("help");
  dialog.replaceChildren(element("h1", { text: t("helpTitle") }),
    element("dl", {}, ...t("helpKeys").flatMap(([key, text]) => [element("dt", { text: key }), element("dd", { text })])),
    element("button", { type: "button", text: t("close"), onclick: () => dialog.close() }));
  dialog.showModal();
}

function nextHead(by) {
  const heads = [...Array(headsOf(state.record, state.kind, state.layer)).keys()].map((i) => i + 1);
  change({ head: heads.includes(state.head) ? cycled(heads, state.head, by) : heads[0] });
}

const KEYS = {
  l: () => state.kind && change({ layer: cycled(layersOf(state.record, state.kind), state.layer, 1) }),
  L: () => state.kind && change({ layer: cycled(layersOf(state.record, state.kind), state.layer, -1) }),
  h: () => state.kind && nextHead(1), H: () => state.kind && nextHead(-1),
  m: () => change({ head: "mean" }), a: () => state.kind && change({ kind: cycled(kindsOf(state.record), state.kind, 1) }),
  w: () => change(state.view === "alignment" ? { words: !state.words } : { join: !state.join }), r: () => change({ record: (state.record + 1) % RECORDS.length }),
  p: () => state.view === "decoding" && stepsOf(RECORDS[state.record]).length > 1 && togglePlay(),
  n: () => stepTo(state.step + 1), b: () => stepTo(state.step - 1),
  g: turnLanguage, d: turnTheme, "?": showHelp,
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("help").open) return;
  if (event.target.matches("select, input[type=range]")) return;
  if (/^[1-9]$/.test(event.key) && NAMES[Number(event.key) - 1]) change({ view: NAMES[Number(event.key) - 1] });
  else if (Object.hasOwn(KEYS, event.key)) KEYS[event.key]();
  else return;
  event.preventDefault();
});

let room = window.innerWidth;
window.addEventListener("resize", () => { if (window.innerWidth !== room) { room = window.innerWidth; draw(); } });

settle();
draw();
