// Lines between tokens: queries on the left, keys on the right, weights as opacity.

const LINE = 26, LEAST = 0.02;  // pixels; the least share of the strongest weight that is drawn

function linesView() {
  if (!state.kind) return notice(t("absentMaps"));
  const heads = headsOf(state.record, state.kind, state.layer);
  const each = state.head === "each";
  const maps = each ? Array.from({ length: heads }, (_, i) => chosenMap(state.record, { head: i + 1 })) : [chosenMap()];
  if (!maps[0].rows) return notice(t("empty"));
  const legend = each ? element("div", { class: "legend" }, ...maps.map((_, i) => element("span", {},
    element("span", { class: "swatch", style: { background: HEADS[i % HEADS.length] } }),
    document.createTextNode(t("headNumber", i + 1))))) : null;
  return element("div", {}, element("p", { class: "faint", text: t("linesHint") }), memoryNote(), fertilityTable(), legend,
    connected(maps, each ? HEADS : [colour("accent")]));
}

function memoryNote() {
  const { memory } = RECORDS[state.record];
  return memory && state.kind === "decoder" ? element("p", { class: "faint", text: t("memory", memory) }) : null;
}

/** Two columns of tokens with lines between them. best: only the strongest key of each query. */
function connected(maps, colours, best = false) {
  const [first] = maps, most = Math.max(...maps.map(largest), 1e-6);
  const height = LINE * Math.max(first.rows, first.columns);
  const canvas = element("canvas", { "aria-hidden": "true" });
  const columns = [tokenColumn(first, 0), tokenColumn(first, 1)];
  const node = element("div", { class: "lines" }, columns[0].node, canvas, columns[1].node);
  let chosen = null;

  function redraw() {
    const width = canvas.clientWidth, ratio = window.devicePixelRatio || 1;
    if (!width) return;
    if (canvas.width !== Math.round(width * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.height = `${height}px`;
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    maps.forEach((map, number) => strokes(context, map, width, colours[number % colours.length], number));
  }

  function strokes(context, map, width, ink, number) {
    context.strokeStyle = ink;
    const shift = (number - (maps.length - 1) / 2) * (maps.length > 1 ? 2 : 0);
    for (let i = 0; i < map.rows; i++) {
      if (chosen && chosen.side === 0 && chosen.place !== i) continue;
      const row = map.weights.subarray(i * map.columns, (i + 1) * map.columns);
      const top = best ? strongest(row) : -1;
      for (let j = 0; j < map.columns; j++) {
        const share = row[j] / most;  // of the strongest weight: enough to tell the lines of one token apart
        if (share < LEAST || (best && j !== top) || (chosen && chosen.side === 1 && chosen.place !== j)) continue;
        context.globalAlpha = chosen || best ? Math.max(share, 0.2) : row[j] ** 0.7;
        context.lineWidth = best ? 2.5 : 1 + 2.5 * row[j];
        context.beginPath();
        context.moveTo(2, (i + 0.5) * LINE + shift);
        context.lineTo(width - 2, (j + 0.5) * LINE + shift);
        context.stroke();
      }
    }
  }

  function select(next) {
    chosen = next;
    columns.forEach((column, side) => column.mark(next, side, maps));
    redraw();
  }

  columns.forEach((column, side) => column.listen(side, select, columns));
  new ResizeObserver(redraw).observe(canvas);
  return node;
}

function strongest(row) {
  let place = 0;
  row.forEach((weight, i) => { if (weight > row[place]) place = i; });
  return place;
}

/** One column of tokens; `mark` shows the weights of the token that is chosen on the other side. */
function tokenColumn(map, side) {
  const labels = side ? map.keys : map.queries, remembered = side ? memoryOf(map) : 0;
  const buttons = labels.map((label, place) => element("button", {
    class: place < remembered ? "token remembered" : "token", type: "button", tabindex: place ? "-1" : "0", "aria-pressed": "false",
  }, element("span", { text: shortened(label, 28) }), element("span", { class: "share" })));
  const record = RECORDS[state.record];
  const names = record.source === null ? { target: "predicted", read: "text" } : labelling(record) ? { target: "label", source: "text" } : {};
  const name = names[map.sides[side]] || map.sides[side];
  const title = t(`side${name[0].toUpperCase()}${name.slice(1)}`);
  const node = element("div", { class: `column ${side ? "keys" : "queries"}` },
    element("div", { class: "title", text: title }), ...buttons);
  let kept = null;
  const shown = labels.map(() => "false ");

  function mark(chosen, own, maps) {
    buttons.forEach((button, place) => {
      const here = chosen !== null && chosen.side === own && chosen.place === place;
      const share = chosen === null || chosen.side === own ? null : meanWeight(maps, chosen, place);
      const text = share === null || share < 0.01 ? "" : share.toFixed(2);
      if (shown[place] === `${here} ${text}`) return;  // most tokens stay as they are
      shown[place] = `${here} ${text}`;
      button.setAttribute("aria-pressed", String(here));
      button.lastChild.textContent = text;
    });
  }

  function listen(own, select, columns) {
    buttons.forEach((button, place) => {
      const here = { side: own, place };
      button.addEventListener("mouseenter", () => select(here));
      button.addEventListener("mouseleave", () => select(kept));
      button.addEventListener("focus", () => select(here));
      button.addEventListener("blur", () => select(kept));
      button.addEventListener("click", () => { kept = kept ? null : here; select(here); });
      button.addEventListener("keydown", (event) => {
        const to = { ArrowDown: [own, place + 1], ArrowUp: [own, place - 1], ArrowLeft: [0, place], ArrowRight: [1, place] }[event.key];
        if (!to) return;
        event.preventDefault();
        columns[to[0]].focus(to[1]);
      });
    });
  }

  function focus(place) {
    const button = buttons[Math.min(Math.max(place, 0), buttons.length - 1)];
    buttons.forEach((one) => { one.tabIndex = one === button ? 0 : -1; });
    button.focus();
  }
  return { node, mark, listen, focus };
}

function meanWeight(maps, chosen, place) {
  const weights = maps.map((map) => map.weights[chosen.side === 0 ? chosen.place * map.columns + place : place * map.columns + chosen.place]);
  return weights.reduce((sum, weight) => sum + weight, 0) / maps.length;
}

/** Words of the translation with the source words that cross-attention aligns them with. */
function alignmentView() {
  if (labelling(RECORDS[state.record])) return notice(t("absentAlignment"));
  if (!kindsOf(state.record).includes("cross")) return notice(t("absentCross"));
  const layers = layersOf(state.record, "cross");
  const layer = layers.includes(state.layer) ? state.layer : layers[layers.length - 1];
  const slots = Boolean(RECORDS[state.record].slots);
  const map = ofOutput(state.record, chosenMap(state.record, { kind: "cross", layer, join: state.words && !slots }), state.words);
  if (!map || !map.rows) return notice(t("empty"));
  const rows = map.queries.map((word, i) => {
    const row = map.weights.subarray(i * map.columns, (i + 1) * map.columns), top = strongest(row);
    return element("tr", {}, element("td", { class: "wraps", text: word }), element("td", { class: "wraps", text: map.keys[top] }),
      element("td", { class: "number", text: row[top].toFixed(3) }));
  });
  const head = element("tr", {}, ...["alignedWord", "alignedTo", "weight"].map((key) => element("th", { text: t(key) })));
  return element("div", {}, element("p", { class: "faint", text: t("alignmentNote") }),
    element("div", { class: "beside" }, connected([map], [colour("accent")], true),
      element("div", { class: "scroll" }, element("table", {}, head, ...rows))));
}
