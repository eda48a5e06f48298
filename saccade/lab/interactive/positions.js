// Sinusoidal positions: their table, their products by distance, and a shift as a rotation.

Object.assign(state, { width: 32, length: 60, place: 10, shift: 5 });

/** A line through points (x, y) in the unit square, in a plot of this size. */
function plotOf(points, { width = 420, height = 190, label, low, high, at }) {
  const plot = shape("svg", { class: "plot", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const x = (share) => 44 + share * (width - 54), y = (share) => height - 24 - share * (height - 34);
  plot.append(shape("line", { class: "axis", x1: x(0), y1: y(0), x2: x(1), y2: y(0) }), shape("line", { class: "axis", x1: x(0), y1: y(0), x2: x(0), y2: y(1) }));
  plot.append(shape("line", { class: "at", x1: x(at), y1: y(0), x2: x(at), y2: y(1) }), shape("text", { x: x(at) + 4, y: y(0) - 5 }, "p"));
  plot.append(shape("polyline", { class: "line", points: points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ") }));
  plot.append(shape("text", { x: 2, y: y(1) + 4 }, shown(high)), shape("text", { x: 2, y: y(0) }, shown(low)));
  plot.append(shape("text", { x: x(0), y: height - 6 }, "0"), shape("text", { x: x(1) - 24, y: height - 6 }, String(state.length - 1)));
  return plot;
}

/** Pairs as hands of clocks: that of the place, and that of the place behind the shift. */
function clocksOf(row, later) {
  const pairs = Math.min(row.length / 2, 8), size = 62;
  const plot = shape("svg", { class: "plot", width: pairs * size, height: size + 16, viewBox: `0 0 ${pairs * size} ${size + 16}`, role: "img", "aria-label": t("clocks") });
  for (let i = 0; i < pairs; i++) {
    const x = i * size + size / 2, y = size / 2, reach = size / 2 - 6;
    plot.append(shape("circle", { class: "circle", cx: x, cy: y, r: reach }));
    for (const [kind, one] of [["hand", row], ["other", later]]) {
      plot.append(shape("line", { class: kind, x1: x, y1: y, x2: x + reach * one[2 * i + 1], y2: y - reach * one[2 * i] }));
    }
    plot.append(shape("text", { x: x - 4, y: size + 12 }, String(i)));
  }
  return plot;
}

function tableCanvas(rows) {
  const weights = rows.flat();
  const picture = pixels({ rows: rows.length, columns: rows[0].length, weights }, 1, true);
  const across = Math.max(3, Math.floor(440 / rows[0].length)), down = Math.max(2, Math.floor(300 / rows.length));
  const { canvas, context } = canvasOf(across * rows[0].length, down * rows.length);
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, 0, 0, across * rows[0].length, down * rows.length);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", t("table"));
  return element("div", { class: "scroll" }, canvas);
}

open({
  texts: {
    en: { title: "Positions", about: "The paper's sinusoids: each row is a position, each pair of channels a clock hand with its own speed. A shift turns every hand by a fixed angle.",
      width: "width", length: "positions", place: "position p", shift: "shift k", table: "The table: a row for each position, from −1 (orange) to 1 (blue)",
      products: "PE(p) · PE(q) for every q: it depends on p − q alone", clocks: "The first pairs at p (solid) and at p + k (dashed)",
      facts: "Norm {0} = sqrt(width / 2). PE(p) · PE(p + k) = {1}. Turned by k, PE(p) differs from PE(p + k) by {2}." },
    zh: { title: "位置编码", about: "论文中的正弦编码：每一行是一个位置，每一对分量是一根转速固定的表针；平移就是把每根表针转过固定的角度。",
      width: "宽度", length: "位置数", place: "位置 p", shift: "平移 k", table: "编码表：每行一个位置，从 −1（橙）到 1（蓝）",
      products: "对每个 q 的 PE(p) · PE(q)：只取决于 p − q", clocks: "前几对分量：p 处（实线）与 p + k 处（虚线）",
      facts: "模长 {0} = √(宽度/2)；PE(p) · PE(p+k) = {1}；PE(p) 按 k 旋转后与 PE(p+k) 相差 {2}。" },
  },
  controls: () => [
    sliderOf("width", t("width"), { least: 4, most: 128, step: 4, value: state.width }, (width) => change({ width })),
    sliderOf("length", t("length"), { least: 10, most: 200, value: state.length }, (length) => change({ length, place: Math.min(state.place, length - 1) })),
    sliderOf("place", t("place"), { least: 0, most: state.length - 1, value: state.place }, (place) => change({ place })),
    sliderOf("shift", t("shift"), { least: 0, most: 100, value: state.shift }, (shift) => change({ shift })),
  ],
  view: () => {
    const rows = Array.from({ length: state.length }, (_, position) => sinusoid(position, state.width));
    const row = rows[state.place], later = sinusoid(state.place + state.shift, state.width);
    const values = rows.map((other) => dot(row, other));
    const low = Math.min(0, ...values), high = Math.max(...values);
    const points = values.map((value, q) => [q / Math.max(state.length - 1, 1), (value - low) / (high - low)]);
    const apart = Math.max(...turned(row, state.shift).map((value, i) => Math.abs(value - later[i])));
    return [
      element("p", { class: "readout", id: "facts", text: t("facts", shown(Math.sqrt(dot(row, row))), shown(dot(row, later)), apart.toExponential(0)) }),
      element("div", { class: "parts" },
        element("figure", { style: { margin: "0" } }, element("figcaption", { text: t("table") }), tableCanvas(rows)),
        element("div", {}, element("p", { class: "faint", text: t("products") }), plotOf(points, { label: t("products"), low, high, at: state.place / Math.max(state.length - 1, 1) }),
          element("p", { class: "faint", text: t("clocks") }), clocksOf(row, later))),
    ];
  },
});
