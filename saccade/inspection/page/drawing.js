// Elements and canvases. Text enters the page as text nodes and canvas text only, never as markup.

/** An element. options: text, class, events (onclick, ...), attributes, style properties. */
function element(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null) continue;
    if (name === "text") node.textContent = value;
    else if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, own] of Object.entries(value)) node.style.setProperty(key, own);
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";
function shape(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** A canvas of this size in CSS pixels, and its context, sharp on every screen. */
function canvasOf(width, height) {
  const ratio = window.devicePixelRatio || 1;
  const canvas = element("canvas");
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return { canvas, context };
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

const LIGHT = [[255, 255, 255], [222, 235, 247], [158, 202, 225], [66, 146, 198], [8, 81, 156], [8, 40, 92]];
const DARK = [[20, 25, 32], [23, 50, 77], [29, 90, 134], [63, 143, 196], [140, 198, 236], [240, 248, 255]];
// Orange to blue through the paper's colour: readable with every kind of colour blindness.
const SIGNED_LIGHT = [[179, 88, 6], [241, 163, 64], [255, 255, 255], [103, 169, 207], [11, 87, 164]];
const SIGNED_DARK = [[255, 178, 86], [150, 84, 20], [20, 25, 32], [32, 92, 140], [124, 192, 245]];
// Okabe and Ito's colours, for heads side by side.
const HEADS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c7a00", "#7a7f87"];

function between(stops, share) {
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2), rest = place - low;
  return stops[low].map((value, channel) => Math.round(value + (stops[low + 1][channel] - value) * rest));
}

/** The colour of a share from 0 to 1; signed: from -1 to 1. */
function shade(share, signed = false) {
  const dark = state.theme === "dark";
  if (signed) return between(dark ? SIGNED_DARK : SIGNED_LIGHT, (share + 1) / 2);
  return between(dark ? DARK : LIGHT, share);
}

/** The cells of a map as a picture with one pixel each. */
function pixels(map, most, signed = false) {
  const canvas = element("canvas");
  canvas.width = Math.max(map.columns, 1);
  canvas.height = Math.max(map.rows, 1);
  if (!map.rows || !map.columns) return canvas;
  const steps = Array.from({ length: 256 }, (_, i) => shade(signed ? (i - 128) / 127 : i / 255, signed));
  const image = new ImageData(map.columns, map.rows);
  map.weights.forEach((weight, i) => {
    const share = most > 0 ? weight / most : 0;
    const step = signed ? Math.round(share * 127) + 128 : Math.round(share * 255);
    const [red, green, blue] = steps[Math.min(Math.max(step, 0), 255)];
    image.data.set([red, green, blue, 255], i * 4);
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** A bar that shows the colours of a scale, between its least and greatest value. */
function scaleOf(most, signed = false) {
  const { canvas, context } = canvasOf(140, 12);
  for (let x = 0; x < 140; x++) {
    context.fillStyle = `rgb(${shade(signed ? x / 69.5 - 1 : x / 139, signed).join()})`;
    context.fillRect(x, 0, 1, 12);
  }
  return element("div", { class: "scale" }, element("span", { text: signed ? (-most).toFixed(2) : "0" }), canvas,
    element("span", { text: most.toFixed(2) }));
}

function shortened(text, most) {
  const letters = [...text];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : text;
}

function notice(text) {
  return element("p", { class: "notice", text });
}
