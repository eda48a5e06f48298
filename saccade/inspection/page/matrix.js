// A map as a matrix with its labels; the cell under the pointer, or chosen by arrow keys, is read out.

const LETTERS = 18;  // of a label

function matrixView() {
  if (!state.kind) return notice(t("absentMaps"));
  const map = chosenMap();
  if (!map || !map.rows) return notice(t("empty"));
  const most = Math.max(largest(map), 0.01);
  const readout = element("p", { class: "readout", "aria-live": "polite", id: "readout" });
  const matrix = matrixOf(map, { most, label: t("matrixLabel"), tell: (cell) => tell(readout, map, cell) });
  return element("div", {}, memoryNote(), fertilityTable(), readout, matrix.node, scaleOf(most));
}

function tell(readout, map, cell) {
  if (!cell) { readout.textContent = ""; return; }
  const weight = map.weights[cell.row * map.columns + cell.column];
  readout.textContent = t("attends", map.queries[cell.row], map.keys[cell.column], weight.toFixed(5));
}

/** The room for the labels and the size of a cell, the same for all of these maps. */
function layoutOf(maps, width) {
  const longest = (texts) => Math.min(Math.max(...texts.map((text) => widthOf(text)), 1), LETTERS);
  const left = 14 + 7.2 * Math.max(...maps.map((map) => longest(map.queries)));
  const top = 14 + 7.2 * Math.max(...maps.map((map) => longest(map.keys)));
  return { left, top, cell: Math.min(Math.max((width - left - 4) / Math.max(...maps.map((map) => map.columns)), 11), 36) };
}

/** options: most (the weight of the darkest colour), signed, label, tell (called with the cell or null),
 *  layout. Returns the node and `point`, which marks a cell from outside. */
function matrixOf(map, { most, signed = false, label, tell: report, layout = layoutOf([map], roomOf()) }) {
  const { left, top, cell } = layout;
  const size = { width: left + cell * map.columns + 2, height: top + cell * map.rows + 2 };
  const { canvas, context } = canvasOf(size.width, size.height);
  context.imageSmoothingEnabled = false;
  context.drawImage(pixels(map, most, signed), left, top, cell * map.columns, cell * map.rows);
  context.strokeStyle = colour("rule");
  context.strokeRect(left - 0.5, top - 0.5, cell * map.columns + 1, cell * map.rows + 1);
  const remembered = memoryOf(map);  // a rule behind the tokens in memory
  if (remembered) {
    context.fillStyle = colour("accent");
    context.fillRect(left + remembered * cell - 1, top - 6, 2, cell * map.rows + 10);
  }
  context.fillStyle = colour("ink");
  context.font = `${Math.min(12, cell + 1)}px system-ui, "Noto Sans CJK SC", sans-serif`;
  context.textBaseline = "middle";
  context.textAlign = "right";
  map.queries.forEach((text, i) => context.fillText(shortened(text, LETTERS), left - 6, top + (i + 0.5) * cell));
  context.textAlign = "left";
  map.keys.forEach((text, j) => {
    context.save();
    context.translate(left + (j + 0.5) * cell, top - 6);
    context.rotate(-Math.PI / 2);
    context.fillText(shortened(text, LETTERS), 0, 0);
    context.restore();
  });
  const over = canvasOf(size.width, size.height);
  const node = element("div", { class: "scroll" }, element("div", {
    class: "matrix", tabindex: "0", role: "application", "aria-label": label, "data-key": "matrix",
  }, canvas, over.canvas));
  const inner = node.firstChild;
  let current = null;

  function point(next) {
    if (current && next && current.row === next.row && current.column === next.column) return;
    current = next;
    over.context.clearRect(0, 0, size.width, size.height);
    if (!next) return;
    over.context.strokeStyle = colour("against");
    over.context.lineWidth = 2;
    over.context.strokeRect(left + next.column * cell + 1, top + next.row * cell + 1, cell - 2, cell - 2);
    over.context.globalAlpha = 0.6;
    over.context.lineWidth = 1;
    over.context.strokeRect(left, top + next.row * cell, next.column * cell, cell);
    over.context.strokeRect(left + next.column * cell, top, cell, next.row * cell);
  }

  function show(next) {
    point(next);
    report(next);
  }

  inner.addEventListener("mousemove", (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - left) / cell), row = Math.floor((event.clientY - box.top - top) / cell);
    show(column >= 0 && row >= 0 && column < map.columns && row < map.rows ? { row, column } : null);
  });
  inner.addEventListener("mouseleave", () => { if (document.activeElement !== inner) show(null); });
  inner.addEventListener("focus", () => { if (!current) show({ row: 0, column: 0 }); });
  inner.addEventListener("keydown", (event) => {
    const by = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key];
    if (!by) return;
    event.preventDefault();
    const from = current || { row: 0, column: 0 };
    show({ row: Math.min(Math.max(from.row + by[0], 0), map.rows - 1), column: Math.min(Math.max(from.column + by[1], 0), map.columns - 1) });
  });
  return { node, point };
}

/** The width of a text in letters; Chinese characters are about two wide. */
function widthOf(text) {
  let width = 0;
  for (const letter of text) width += letter.codePointAt(0) > 0x2e80 ? 1.7 : 1;
  return width;
}

function roomOf() {
  return Math.max(document.getElementById("view").clientWidth - 8, 200);
}

/** The fertilities of a non-autoregressive model above its source pieces, if it has any. */
function fertilityTable() {
  const { fertilities, tokens } = RECORDS[state.record];
  if (!fertilities) return null;
  const rows = [tokens.source.pieces, fertilities].map((cells, number) => element("tr", {},
    ...cells.map((cell) => element("td", { text: String(cell), class: number ? "number" : "" }))));
  return element("div", {}, element("p", { class: "faint", text: t("fertilities") }),
    element("div", { class: "scroll" }, element("table", { id: "fertilities" }, ...rows)));
}
