// The mathematics of the pages: plain numbers in, plain numbers out. Rows are arrays.

/** Rows a (n, d) times the transpose of rows b (m, d): all dot products, (n, m). */
function products(a, b) {
  return a.map((row) => b.map((other) => row.reduce((sum, value, i) => sum + value * other[i], 0)));
}

/** The softmax of scores; those of minus infinity get 0. */
function softmax(scores) {
  const most = Math.max(...scores);
  if (most === -Infinity) return scores.map(() => 0);
  const powers = scores.map((score) => Math.exp(score - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** Attention step by step: query (n, d), key (m, d), value (m, v); options: scaled, causal. */
function attention(query, key, value, { scaled = true, causal = false } = {}) {
  const scores = products(query, key);
  const divided = scaled ? scores.map((row) => row.map((score) => score / Math.sqrt(query[0].length))) : scores;
  const masked = divided.map((row, i) => row.map((score, j) => (causal && j > i + key.length - query.length ? -Infinity : score)));
  const weights = masked.map(softmax);
  const output = weights.map((row) => value[0].map((_, c) => row.reduce((sum, weight, j) => sum + weight * value[j][c], 0)));
  return { scores, masked, weights, output };
}

/** The sinusoids of a position: sine and cosine of position / 10000^(2i / width), in pairs. */
function sinusoid(position, width) {
  const row = [];
  for (let i = 0; i < width / 2; i++) {
    const angle = position * 10000 ** (-2 * i / width);
    row.push(Math.sin(angle), Math.cos(angle));
  }
  return row;
}

/** The sinusoids of a position, each pair turned by the angle of a shift: those of position + shift. */
function turned(row, shift) {
  const width = row.length, found = [];
  for (let i = 0; i < width / 2; i++) {
    const angle = shift * 10000 ** (-2 * i / width), sine = row[2 * i], cosine = row[2 * i + 1];
    found.push(sine * Math.cos(angle) + cosine * Math.sin(angle), cosine * Math.cos(angle) - sine * Math.sin(angle));
  }
  return found;
}

/** What a path of CTC stands for: repetitions count once, and blanks are left out. */
function collapsed(path, blank) {
  return path.filter((one, place) => one !== blank && one !== path[place - 1]);
}

/** The dot product of two rows. */
function dot(a, b) {
  return products([a], [b])[0][0];
}
