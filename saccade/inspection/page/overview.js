// Every head of every layer at once, on one scale.

function overviewView() {
  if (!state.kind) return notice(t("absentMaps"));
  const layers = layersOf(state.record, state.kind);
  const most = Math.max(...layers.map((layer) => headsOf(state.record, state.kind, layer)));
  const heads = (layer) => Array.from({ length: headsOf(state.record, state.kind, layer) }, (_, i) => i + 1);
  const darkest = Math.max(...layers.flatMap((layer) => heads(layer).map((head) => largest(chosenMap(state.record, { layer, head })))), 0.01);
  const rows = layers.map((layer) => element("div", { class: "row" },
    element("span", { class: "faint", text: t("layerNumber", layer) }), ...heads(layer).map((head) => headButton(layer, head, darkest))));
  return element("div", {}, element("p", { class: "faint", text: t("scaleShared") }), scaleOf(darkest),
    element("div", { class: "scroll" }, element("div", { class: "heads", style: { "--heads": String(most) } }, ...rows)));
}

function headButton(layer, head, darkest) {
  const map = chosenMap(state.record, { layer, head });
  const { entropy, distance } = cached(`statistics ${state.record} ${state.kind} ${layer} ${head} ${state.join}`, () => statisticsOf(map));
  const name = `${t("layerNumber", layer)}, ${t("headNumber", head)}`;
  const caption = t("headCaption", entropy.toFixed(1), distance.toFixed(1));
  return element("button", {
    class: "head", type: "button", "data-key": `head ${layer} ${head}`, "aria-label": `${name}: ${t("stats", entropy.toFixed(1), distance.toFixed(1))}`,
    title: `${name}: ${t("stats", entropy.toFixed(2), distance.toFixed(2))}`, "aria-pressed": String(layer === state.layer && head === state.head),
    onclick: () => change({ layer, head, view: "matrix" }),
  }, pixels(map, darkest), element("span", { class: "caption", text: t("headNumber", head) }), element("span", { class: "caption", text: caption }));
}
