// Descent in steps, z ← z − η g, from where the view is.

import { CLASSES, isNear, isTied, topClass } from "./simplex.js";

export const MOST_STEPS = 20000;

export function startRun(loss, { z, p, rate }) {
  const y = topClass(p);
  return {
    loss,
    z: z.slice(),
    y,
    p,
    rate,
    steps: 0,
    tie: isTied(z, y) ? 0 : null,
    near: isNear(z, p) ? 0 : null,
    ended: isNear(z, p) ? "near" : null,
    points: [z.slice()],
    spacing: 0.1,
    marks: [],
  };
}

export function advance(run, deadline) {
  while (!run.ended) {
    if (run.steps % 32 === 0 && performance.now() > deadline) return;
    takeStep(run);
  }
}

function takeStep(run) {
  const { z, p, rate } = run;
  const [, ...g] = run.loss.valueAndGradient(z, p);
  const next = [z[0] - rate * g[0], z[1] - rate * g[1], z[2] - rate * g[2]];
  if (!next.every(Number.isFinite)) run.ended = "diverged";
  else if (g.every((one) => one === 0)) run.ended = "flat";
  else if (next.every((one, i) => one === z[i])) run.ended = "stuck";
  if (run.ended) return;
  run.z = next;
  run.steps += 1;
  if (run.tie === null && isTied(next, run.y)) run.tie = run.steps;
  if (isNear(next, p)) [run.near, run.ended] = [run.steps, "near"];
  else if (run.steps === MOST_STEPS) run.ended = "limit";
  record(run);
}

// Points are kept where they are far enough apart to be seen. A path that swings to and fro for
// thousands of steps loses every other point when it has too many.
function record(run) {
  const { z, points } = run;
  const kept = points[points.length - 1];
  const distance = Math.max(...CLASSES.map((i) => Math.abs(z[i] - kept[i])));
  if (distance >= run.spacing || run.ended) points.push(z);
  if (points.length > 500) {
    run.points = points.filter((_, i) => i % 2 === 0);
    run.spacing *= 2;
  }
  if ([1, 10, 100, 1000, 10000].includes(run.steps)) run.marks.push(z);
}
