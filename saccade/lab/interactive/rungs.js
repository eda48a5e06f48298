// The six rungs of the ladder: what `saccade/lab/ladder.py` computes, for one sentence, word by word.

/** Numbers of 16 bits, as in NumPy's float16, from base64; as rows of a matrix, or as one row. */
function unpacked({ shape: sizes, float16 }) {
  const bytes = Uint8Array.from(atob(float16), (letter) => letter.charCodeAt(0));
  const halves = new DataView(bytes.buffer);
  const values = Array.from({ length: bytes.length / 2 }, (_, place) => half(halves.getUint16(2 * place, true)));
  if (sizes.length === 1) return values;
  return Array.from({ length: sizes[0] }, (_, row) => values.slice(row * sizes[1], (row + 1) * sizes[1]));
}

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
}

const sum = (a, b) => a.map((value, i) => value + b[i]);
const part = (rows, first, end) => rows.map((row) => row.slice(first, end));

/** Rows x through the linear layer of this name. */
function linear(weights, name, x) {
  const bias = weights[`${name}.bias`];
  return products(x, weights[`${name}.weight`]).map((row) => (bias ? sum(row, bias) : row));
}

/** The layer norm of this name, of one row. */
function normed(weights, name, row) {
  const mean = row.reduce((total, value) => total + value, 0) / row.length;
  const variance = row.reduce((total, value) => total + (value - mean) ** 2, 0) / row.length;
  const gain = weights[`${name}.weight`], bias = weights[`${name}.bias`];
  return row.map((value, i) => ((value - mean) / Math.sqrt(variance + 1e-5)) * gain[i] + bias[i]);
}

/** Attention with several heads: each has its own part of the columns, and what they find stands side by side. */
function manyHeads(query, key, value, heads) {
  const width = query[0].length / heads;
  const found = Array.from({ length: heads }, (_, head) => {
    const own = [query, key, value].map((rows) => part(rows, head * width, (head + 1) * width));
    return attention(...own).output;
  });
  return query.map((_, i) => found.flatMap((rows) => rows[i]));
}

/** A rung with its weights: `write` gives the target's ids for the source's, greedily, as `saccade` does. */
function rungOf({ weights: packed, positions, heads, width }, { start, end, banned }) {
  const weights = Object.fromEntries(Object.entries(packed).map(([name, table]) => [name, unpacked(table)]));
  const has = (name) => `${name}.weight` in weights;
  const embedded = (side, ids) => ids.map((id, place) => {
    const word = weights[`${side}_embedding.tokens.weight`][id].map((value) => value * Math.sqrt(width));
    return positions ? sum(word, sinusoid(place, width)) : word;
  });
  /** What a part makes of rows x, by itself or with the residual connection and norm around it. */
  const around = (name, x, found) => (has(`${name}_residual.norm`)
    ? found.map((row, i) => normed(weights, `${name}_residual.norm`, sum(x[i], row))) : found);
  const feedForward = (name, x) => (has(`${name}.inner`)
    ? around(name, x, linear(weights, `${name}.outer`, linear(weights, `${name}.inner`, x).map((row) => row.map((value) => Math.max(value, 0))))) : x);
  /** Self-attention of the rows x; last: for the last row alone, which sees all before it. */
  const among = (name, x, last) => {
    if (!has(`${name}.output`)) return last ? x.slice(-1) : x;
    const all = linear(weights, `${name}.query_key_value`, x);
    const [query, key, value] = [0, 1, 2].map((place) => part(all, place * width, (place + 1) * width));
    const asked = last ? query.slice(-1) : query;
    return around(name, last ? x.slice(-1) : x, linear(weights, `${name}.output`, manyHeads(asked, key, value, heads)));
  };

  function write(source) {
    const memory = feedForward("source_feed_forward", among("source_attention", embedded("source", source), false));
    const both = linear(weights, "cross_attention.key_value", memory);
    const key = part(both, 0, width), value = part(both, width, 2 * width);
    const written = [], most = 2 * source.length + 4;
    while (written.length < most - 1) {
      const asking = among("target_attention", embedded("target", [start, ...written]), true);
      const query = linear(weights, "cross_attention.query", asking);
      const found = around("cross_attention", asking, linear(weights, "cross_attention.output", manyHeads(query, key, value, heads)));
      const [logits] = linear(weights, "output", feedForward("target_feed_forward", found));
      for (const id of banned) logits[id] = -Infinity;
      const next = logits.indexOf(Math.max(...logits));
      if (next === end) break;
      written.push(next);
    }
    return written;
  }
  return { write };
}

/** The words of a number from 100 to 9,999, as the models know them; words: those of 0 to 19, then 20, 30, ..., 90. */
function english(number, words) {
  const found = number >= 1000 ? [words[Math.floor(number / 1000)], "thousand"] : [];
  const rest = number % 1000, tail = rest % 100;
  if (rest >= 100) found.push(words[Math.floor(rest / 100)], "hundred");
  if (tail) found.push("and", ...(tail < 20 ? [words[tail]] : [words[18 + Math.floor(tail / 10)], ...(tail % 10 ? [words[tail % 10]] : [])]));
  return found;
}

/** The same in German, cut into its parts. */
function german(number, words) {
  const before = (digit) => (digit === 1 ? "ein" : words[digit]);
  const found = number >= 1000 ? [before(Math.floor(number / 1000)), "tausend"] : [];
  const rest = number % 1000, tail = rest % 100;
  if (rest >= 100) found.push(before(Math.floor(rest / 100)), "hundert");
  if (tail >= 20) found.push(...(tail % 10 ? [before(tail % 10), "und"] : []), words[18 + Math.floor(tail / 10)]);
  else if (tail) found.push(words[tail]);
  return found;
}
