// Geometry of three classes: probabilities, the logits below them, log-odds, and how Q moves.

export const CLASSES = [0, 1, 2];

const NEAR = 0.01; // max |q − p| at which Q has arrived

export const topClass = (p) => p.indexOf(Math.max(...p));
export const isCertain = (p) => Math.max(...p) === 1;
export const corner = (y) => CLASSES.map((i) => (i === y ? 1 : 0));

export function gauged(z) {
  const mean = (z[0] + z[1] + z[2]) / 3;
  return z.map((one) => one - mean);
}

export function softmax(z) {
  const top = Math.max(z[0], z[1], z[2]);
  const e = [Math.exp(z[0] - top), Math.exp(z[1] - top), Math.exp(z[2] - top)];
  const sum = e[0] + e[1] + e[2];
  return [e[0] / sum, e[1] / sum, e[2] / sum];
}

// u is the log-odds of class y, v those of the next class against the last: u = logit q_y, and
// the next class has the share σ(v) of what y leaves.
export function toLogOdds(z, y) {
  const [next, last] = [z[(y + 1) % 3], z[(y + 2) % 3]];
  const rest = Math.max(next, last) + Math.log1p(Math.exp(-Math.abs(next - last)));
  return [z[y] - rest, next - last];
}

export function fromLogOdds([u, v], y) {
  const z = [0, 0, 0];
  z[(y + 1) % 3] = v / 2;
  z[(y + 2) % 3] = -v / 2;
  z[y] = u + Math.abs(v) / 2 + Math.log1p(Math.exp(-Math.abs(v)));
  return gauged(z);
}

// −J g = −q∘(g − q·g). J annihilates what is common to all logits, so g is taken relative to the
// top class: where one class has it all, nothing large is left that would have to cancel.
export function velocity(z, g) {
  const q = softmax(z);
  const top = g[topClass(z)];
  const mean = q[0] * (g[0] - top) + q[1] * (g[1] - top) + q[2] * (g[2] - top);
  return CLASSES.map((i) => -q[i] * (g[i] - top - mean));
}

// The same motion as (u′, v′).
export function logOddsVelocity(z, g, y) {
  const [next, last] = [(y + 1) % 3, (y + 2) % 3];
  const share = 1 / (1 + Math.exp(z[last] - z[next]));
  return [share * (g[next] - g[y]) + (1 - share) * (g[last] - g[y]), g[last] - g[next]];
}

export function isTied(z, y) {
  return z[y] >= Math.max(z[(y + 1) % 3], z[(y + 2) % 3]);
}

export function isNear(z, p) {
  const q = softmax(z);
  return Math.max(Math.abs(q[0] - p[0]), Math.abs(q[1] - p[1]), Math.abs(q[2] - p[2])) <= NEAR;
}

// The nearest point of the simplex.
export function projected(q) {
  const sorted = q.slice().sort((a, b) => b - a);
  const excess = Math.max(
    sorted[0] - 1,
    (sorted[0] + sorted[1] - 1) / 2,
    (sorted[0] + sorted[1] + sorted[2] - 1) / 3,
  );
  return q.map((one) => Math.max(0, one - excess));
}
