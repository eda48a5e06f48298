// What a model read as a picture, or the spectrogram of a sound, under the weights of one query.

const PICTURE_HEIGHT = 320;

/** The kinds of attention whose keys lie on the picture. */
function picturedKinds(record) {
  return kindsOf(record).filter((kind) => RECORDS[record].maps.some((map) => map.kind === kind && map.keys === "source"));
}

function pictureView() {
  const record = RECORDS[state.record], { picture } = record;
  if (!picture) return notice(t("absentPicture"));
  const kinds = picturedKinds(state.record);
  const map = kinds.length ? chosenMap(state.record, { kind: kinds.includes(state.kind) ? state.kind : kinds[0], join: false }) : null;
  if (!map) return notice(t("absentMaps"));
  const self = map.sides[0] === "source";
  const query = Math.min(self ? state.spot : state.token, map.rows - 1);
  const weights = map.weights.subarray(query * map.columns, (query + 1) * map.columns);
  const most = Math.max(...weights, 1e-9);
  const readout = element("p", { class: "readout", "aria-live": "polite", id: "readout" });
  const picked = self ? null : element("div", { class: "tokens", role: "group", "aria-label": t("choose") },
    ...map.queries.map((piece, place) => element("button", {
      class: "token", type: "button", text: piece, "data-key": `query ${place}`, "aria-pressed": String(place === query),
      onclick: () => change({ token: place }),
    })));
  return element("div", {}, element("p", { class: "faint", text: t(self ? "pictureSelf" : "pictureNote") }), picked, readout,
    pictureOf(picture, { weights, most, query: self ? query : null, queries: map.queries[query], readout }),
    element("p", { class: "faint", text: t("pictureMost", most.toFixed(3)) }));
}

/** The picture with a pale colour over each position; the position under the pointer, or chosen by arrow keys, is read out. */
function pictureOf(picture, { weights, most, query, queries, readout }) {
  const [height, width] = picture.shape;
  const across = Math.min(Math.max(roomOf() / width, picture.square ? 1 : 2), picture.square ? PICTURE_HEIGHT / height : 16);
  const down = picture.square ? across : Math.max(Math.min(PICTURE_HEIGHT / 2 / height, 12), 1);
  const { canvas, context } = canvasOf(width * across, height * down);
  const draw = (box, act) => act(box[0] * across, box[1] * down, box[2] * across, box[3] * down);
  context.imageSmoothingEnabled = false;
  context.drawImage(inkOf(picture), 0, 0, width * across, height * down);
  context.fillStyle = "#e66100";  // readable on grey with every kind of colour blindness
  picture.boxes.forEach((boxes, place) => {
    context.globalAlpha = 0.75 * (weights[place] || 0) / most;
    for (const box of boxes) draw(box, (...area) => context.fillRect(...area));
  });
  context.globalAlpha = 1;
  const over = canvasOf(width * across, height * down);
  const node = element("div", { class: "scroll" }, element("div", {
    class: "matrix", tabindex: "0", role: "application", "aria-label": t("picture"), "data-key": "picture" }, canvas, over.canvas));
  const inner = node.firstChild;
  let current = null;

  function point(place) {
    current = place;
    over.context.clearRect(0, 0, width * across, height * down);
    for (const [shown, name] of [[query, "for"], [place, "against"]]) {
      if (shown === null) continue;
      over.context.strokeStyle = colour(name);
      over.context.lineWidth = 2;
      for (const box of picture.boxes[shown] || []) draw(box, (x, y, w, h) => over.context.strokeRect(x + 1, y + 1, Math.max(w - 2, 1), Math.max(h - 2, 1)));
    }
    readout.textContent = place === null ? "" : t("attends", queries, place + 1, weights[place].toFixed(5));
  }

  function placeAt(event) {
    const area = canvas.getBoundingClientRect();
    const x = (event.clientX - area.left) / across, y = (event.clientY - area.top) / down;
    const found = picture.boxes.findIndex((boxes) => boxes.some(([left, top, w, h]) => x >= left && x < left + w && y >= top && y < top + h));
    return found >= 0 && found < weights.length ? found : null;
  }

  inner.addEventListener("mousemove", (event) => point(placeAt(event)));
  inner.addEventListener("mouseleave", () => { if (document.activeElement !== inner) point(null); });
  inner.addEventListener("click", (event) => { const place = placeAt(event); if (query !== null && place !== null) change({ spot: place }); });
  inner.addEventListener("focus", () => { if (current === null) point(0); });
  inner.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter" && query !== null && current !== null) change({ spot: current });
    if (!by) return;
    event.preventDefault();
    point(Math.min(Math.max((current === null ? 0 : current) + by, 0), weights.length - 1));
  });
  point(null);
  return node;
}

/** The values of a picture as grey levels, ink on paper, one pixel each. */
function inkOf({ shape: [height, width], values }) {
  const text = atob(values), canvas = element("canvas");
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let i = 0; i < text.length; i++) {
    const grey = 255 - text.charCodeAt(i);
    image.data.set([grey, grey, grey, 255], i * 4);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
