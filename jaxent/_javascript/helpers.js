// Functions that a translated loss may call, printed without spaces and comments.

export const fround = Math.fround;
export const word = new Float32Array(1);
export const bits = new Int32Array(word.buffer);

// Rounds a float32 to nearest, ties to even, in its bits; below 2⁻¹⁴ float16 has fixed steps.
export const half = x => {
  x = fround(x);
  const a = Math.abs(x);
  if (!(a < 65520)) return x * Infinity;
  if (a < 2 ** -14) return fround(x + .75) - .75 || x * 0;
  word[0] = x;
  bits[0] = bits[0] + 4095 + (bits[0] >> 13 & 1) & -8192;
  return word[0];
};
export const bfloat = x => {
  word[0] = x;
  if (x === x) bits[0] = bits[0] + 32767 + (bits[0] >> 16 & 1) & -65536;
  return word[0];
};

export const even = x => {
  const r = Math.round(x);
  return Math.abs(x % 1) === .5 && r % 2 ? r - 1 : r;
};
export const away = x => x < 0 ? -Math.round(-x) : Math.round(x);
export const below = (x, y) => x < y || x === x && y !== y || x === 0 && y === 0 && 1 / x < 1 / y;
export const power = (x, y) => x === 1 || x === -1 && Math.abs(y) === Infinity ? 1 : x ** y;
export const quotient = (x, y) => y ? Math.trunc(x / y) : -1;
export const remainder = (x, y) => y ? x % y : x;
export const integer = (x, low, high) =>
  x === x ? Math.min(Math.max(Math.trunc(x), low), high) + 0 : 0;

// The series of odd double factorials, whose terms all have one sign, and the continued fraction.
export const erf = x => {
  if (Math.abs(x) > 2) return x > 0 ? 1 - erfc(x) : erfc(-x) - 1;
  let s = x, t = x;
  for (let n = 3; n < 99; n += 2) s += t *= 2 * x * x / n;
  return s * Math.exp(-x * x) * 2 / Math.sqrt(Math.PI);
};
export const erfc = x => {
  if (x < 0) return 2 - erfc(-x);
  if (x < 2) return 1 - erf(x);
  let f = x;
  for (let n = 99; n; n--) f = x + n / 2 / f;
  return Math.exp(-x * x) / f / Math.sqrt(Math.PI);
};

// Winitzki's approximation, improved by Halley's method.
export const erfinv = x => {
  const a = Math.abs(x);
  if (!(a < 1)) return a > 1 ? NaN : x * Infinity;
  const l = Math.log((1 - a) * (1 + a)), m = 2 / Math.PI / .147 + l / 2;
  let y = Math.sqrt(Math.sqrt(m * m - l / .147) - m);
  for (let n = 0; n < 4; n++) {
    const r = a < .5 ? erf(y) - a : 1 - a - erfc(y);
    y -= r / (2 * Math.exp(-y * y) / Math.sqrt(Math.PI) + y * r);
  }
  return Math.sign(x) * y;
};

// Lanczos' approximation, and asymptotic series of what is large enough.
export const lgamma = x => {
  if (Math.abs(x) === Infinity) return Infinity;
  if (x < .5) return Math.log(Math.PI / Math.abs(Math.sin(Math.PI * (x % 1)))) - lgamma(1 - x);
  const t = x + 6.5;
  return Math.log(2 * Math.PI) / 2 + (x - .5) * Math.log(t) - t + Math.log([
    676.5203681218851, -1259.1392167224028, 771.3234287776531, -176.6150291621406,
    12.507343278686905, -.13857109526572012, 9.984369578019572e-6, 1.5056327351493116e-7
  ].reduce((s, c, n) => s + c / (x + n), .9999999999998099));
};
export const digamma = x => {
  if (x < .5)
    return x <= 0 && x % 1 === 0 ? NaN : digamma(1 - x) - Math.PI / Math.tan(Math.PI * (x % 1));
  let s = 0;
  for (; x < 10; x++) s -= 1 / x;
  const r = 1 / x / x;
  return s + Math.log(x) - .5 / x -
    r * (1 / 12 - r * (1 / 120 - r * (1 / 252 - r * (1 / 240 - r * (1 / 132 - r * 691 / 32760)))));
};
export const polygamma = (m, x) => {
  if (!m) return digamma(x);
  let f = m % 2 ? 1 : -1, s = 0;
  for (let n = 2; n <= m; n++) f *= n;
  for (; x < 20 + m; x++) s += x ** (-m - 1);
  let t = (m + 1) / x ** (m + 2);
  s += (1 / m + .5 / x) / x ** m;
  [12, -720, 30240, -1209600, 47900160].forEach((c, n) => {
    s += t / c;
    t *= (m + 2 * n + 2) * (m + 2 * n + 3) / x / x;
  });
  return f * s;
};
