// What the pages share: languages, theme, header, help and keys. A page calls `open` with its texts and parts.

const DATA = JSON.parse(document.getElementById("data").textContent);
const state = {
  language: (navigator.language || "en").startsWith("zh") ? "zh" : "en",
  theme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light",
};
let page = null;

const COMMON = {
  en: { language: "中文", dark: "Dark", light: "Light", help: "Help", helpTitle: "Keyboard", close: "Close",
    keys: [["Tab", "next field or button"], ["↑ ↓", "change a number"], ["g", "English or Chinese"], ["d", "dark or light"], ["?", "this help"], ["Esc", "close"]] },
  zh: { language: "English", dark: "深色", light: "浅色", help: "帮助", helpTitle: "键盘", close: "关闭",
    keys: [["Tab", "下一个输入框或按钮"], ["↑ ↓", "改变数值"], ["g", "中文或英文"], ["d", "深色或浅色"], ["?", "此帮助"], ["Esc", "关闭"]] },
};

/** The text of a key in the present language, with values in the places of {0}, {1}, ... */
function t(key, ...values) {
  let text = page.texts[state.language][key] ?? COMMON[state.language][key];
  values.forEach((value, place) => { text = text.replace(`{${place}}`, () => value); });
  return text;
}

/** A number as it is shown: three decimals at most, and a sign for what is hidden. */
function shown(value) {
  if (value === -Infinity) return "−∞";
  const text = Number(value).toFixed(3).replace(/\.?0+$/, "");
  return (text === "-0" ? "0" : text).replace("-", "−");
}

function change(changes) {
  Object.assign(state, changes);
  draw();
}

function draw() {
  const held = document.activeElement && document.activeElement.dataset.key;
  document.documentElement.lang = state.language === "zh" ? "zh-Hans" : "en";
  document.documentElement.dataset.theme = state.theme;
  document.title = `Saccade: ${t("title")}`;
  const button = (key, text, act) => element("button", { type: "button", text, "data-key": key, onclick: act });
  const help = button("help", "?", showHelp);
  help.setAttribute("aria-label", t("help"));
  document.getElementById("header").replaceChildren(element("div", { class: "top" },
    element("h1", { text: `Saccade · ${t("title")}` }), element("span", { class: "facts" }),
    element("span", { class: "buttons" }, button("language", t("language"), turnLanguage),
      button("theme", t(state.theme === "dark" ? "light" : "dark"), turnTheme), help)),
    element("p", { text: t("about") }));
  document.getElementById("controls").replaceChildren(...page.controls());
  document.getElementById("view").replaceChildren(...page.view());
  const again = held && [...document.querySelectorAll("[data-key]")].find((node) => node.dataset.key === held);
  if (again && again !== document.activeElement) again.focus({ preventScroll: true });
}

function turnLanguage() { change({ language: state.language === "zh" ? "en" : "zh" }); }
function turnTheme() { change({ theme: state.theme === "dark" ? "light" : "dark" }); }

function showHelp() {
  const dialog = document.getElementById("help");
  const keys = [...t("keys"), ...(page.texts[state.language].moreKeys || [])];
  dialog.replaceChildren(element("h1", { text: t("helpTitle") }),
    element("dl", {}, ...keys.flatMap(([key, text]) => [element("dt", { text: key }), element("dd", { text })])),
    element("button", { type: "button", text: t("close"), onclick: () => dialog.close() }));
  dialog.showModal();
}

/** A switch with its name. */
function switchOf(key, text, on, act) {
  return element("button", { type: "button", text, "data-key": key, "aria-pressed": String(on), onclick: () => act(!on) });
}

/** A slider with its name and value. */
function sliderOf(key, text, { least, most, step = 1, value }, act) {
  const slider = element("input", { type: "range", min: least, max: most, step, "data-key": key, "aria-label": text,
    oninput: (event) => act(Number(event.target.value)) });
  slider.value = value;
  return element("label", {}, element("span", { text }), slider, element("output", { text: String(value) }));
}

/** Opens a page: its texts in both languages, its controls and its view as functions, and keys of its own. */
function open(parts) {
  page = parts;
  const keys = { g: turnLanguage, d: turnTheme, "?": showHelp, ...(parts.keys || {}) };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("help").open) return;
    if (event.target.matches("input[type=number], select") || !Object.hasOwn(keys, event.key)) return;
    keys[event.key]();
    event.preventDefault();
  });
  draw();
}
