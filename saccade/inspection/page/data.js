// The records, and maps computed from them: one head, a layer's mean, the mean of all; pieces or words.

const RECORDS = JSON.parse(document.getElementById("data").textContent).records;
const LEVELS = 65535;
const cache = new Map();

function cached(key, make) {
  if (!cache.has(key)) cache.set(key, make());
  return cache.get(key);
}

/** The weights of a stored map, whole numbers of 16 bits, in the order head, query, key. */
function levelsOf(record, index) {
  return cached(`levels ${record} ${index}`, () => {
    const text = atob(RECORDS[record].maps[index].weights);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new Uint16Array(bytes.buffer);
  });
}

/** The tokens of the output: those along the axis "target", or what its slots write. */
function writtenBy(record) {
  return record.tokens[record.written];
}

/** Whether a record is of a model that labels a text. */
function labelling(record) {
  return record.absent.search === "labels";
}

/** The number of columns of a map, from the first one, that stand for tokens in memory. */
function memoryOf(map) {
  const { memory, tokens } = RECORDS[state.record];
  if (!memory || map.sides[1] !== "read") return 0;
  return map.keys === tokens.read.words ? tokens.read.numbers[memory] : memory;
}

/** The kinds of attention of a record, in the order in which they are shown. */
function kindsOf(record) {
  const found = new Set(RECORDS[record].maps.map((map) => map.kind));
  return ["cross", "encoder", "decoder", "positional"].filter((kind) => found.has(kind));
}

function layersOf(record, kind) {
  return RECORDS[record].maps.filter((map) => map.kind === kind).map((map) => map.layer);
}

function headsOf(record, kind, layer) {
  const map = RECORDS[record].maps.find((one) => one.kind === kind && one.layer === layer);
  return map ? map.shape[0] : 0;
}

/** A map as a value: rows (queries), columns (keys), weights by row, labels of both axes.
 *  head: a number from 1, "mean" (of the layer) or "all" (the mean of all layers). Null if there is none. */
function mapOf(record, kind, layer, head, join) {
  return cached(`map ${record} ${kind} ${layer} ${head} ${join}`, () => {
    const parts = RECORDS[record].maps.map((map, index) => ({ map, index }))
      .filter(({ map }) => map.kind === kind && (head === "all" || map.layer === layer));
    if (!parts.length || (typeof head === "number" && head > parts[0].map.shape[0])) return null;
    const { queries, keys, shape: [, rows, columns] } = parts[0].map;
    const weights = new Float32Array(rows * columns);
    let count = 0;
    for (const { map, index } of parts) {
      const levels = levelsOf(record, index);
      for (let number = 0; number < map.shape[0]; number++) {
        if (typeof head === "number" && number !== head - 1) continue;
        count++;
        const first = number * rows * columns;
        for (let i = 0; i < weights.length; i++) weights[i] += levels[first + i];
      }
    }
    for (let i = 0; i < weights.length; i++) weights[i] /= count * LEVELS;
    const tokens = RECORDS[record].tokens;
    const plain = { rows, columns, weights, queries: tokens[queries].pieces, keys: tokens[keys].pieces,
      sides: [queries, keys] };
    return join ? joined(plain, tokens[queries], tokens[keys]) : plain;
  });
}

/** The map of words: the sum over the pieces of a key, the mean over those of a query, so that rows sum to 1. */
function joined(map, queries, keys) {
  const rows = queries.words.length, columns = keys.words.length;
  const weights = new Float32Array(rows * columns), sizes = new Float32Array(rows);
  queries.numbers.forEach((row, i) => {
    sizes[row]++;
    keys.numbers.forEach((column, j) => { weights[row * columns + column] += map.weights[i * map.columns + j]; });
  });
  for (let i = 0; i < weights.length; i++) weights[i] /= sizes[Math.floor(i / columns)];
  return { rows, columns, weights, queries: queries.words, keys: keys.words, sides: map.sides };
}

/** The map of the output's tokens, without the end symbol, whose slots are the rows of a map; else the map itself. */
function ofOutput(record, map, join) {
  const { slots, tokens } = RECORDS[record];
  if (!slots || !map) return map;
  const kept = slots.length - 1, weights = new Float32Array(kept * map.columns);
  slots.slice(0, kept).forEach((rows, token) => rows.forEach((row) => {
    for (let j = 0; j < map.columns; j++) weights[token * map.columns + j] += map.weights[row * map.columns + j] / rows.length;
  }));
  const { pieces, numbers, words } = tokens.output;
  const queries = { pieces: pieces.slice(0, kept), numbers: numbers.slice(0, kept), words: words.slice(0, numbers[kept]) };
  const plain = { ...map, rows: kept, weights, queries: queries.pieces };
  return join ? joined(plain, queries, tokens[map.sides[1]]) : plain;
}

/** Entropy in bits and mean distance in tokens, both means over the queries.
 *  The distance of self-attention is counted from the query's own place, that of cross-attention from the
 *  diagonal. */
function statisticsOf(map) {
  let entropy = 0, distance = 0;
  const cross = map.sides[1] === "source" && map.sides[0] === "target";
  const slope = cross ? map.columns / map.rows : 1, offset = cross ? 0 : map.columns - map.rows;
  for (let i = 0; i < map.rows; i++) {
    for (let j = 0; j < map.columns; j++) {
      const weight = map.weights[i * map.columns + j];
      if (weight > 0) {
        entropy -= weight * Math.log2(weight);
        distance += weight * Math.abs(j - (i * slope + offset));
      }
    }
  }
  return { entropy: entropy / Math.max(map.rows, 1), distance: distance / Math.max(map.rows, 1) };
}

function largest(map) {
  let most = 0;
  for (const weight of map.weights) most = Math.max(most, weight);
  return most;
}

/** Whether two maps have the same labels, so that they can be subtracted. */
function sameLabels(one, other) {
  const same = (a, b) => a.length === b.length && a.every((label, i) => label === b[i]);
  return same(one.queries, other.queries) && same(one.keys, other.keys);
}
