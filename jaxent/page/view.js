// The view is all that a reader can change. Q is held by its logits, where Σz = 0: near a corner
// its probabilities could not tell 1 − 10⁻¹⁷ from 1.

import { LOSSES, TARGET } from "./losses.js";
import { corner, gauged, isCertain, topClass } from "./simplex.js";

export const LEAST = 1e-6; // of a probability that Q can be dragged to
export const EDGE = Math.log(1 / LEAST - 1); // where the log-odds chart ends
export const RATES = [-3, -2, -1, 0, 1]
  .flatMap((power) => [1, 1.5, 2, 3, 5, 7].map((factor) => Number(`${factor}e${power}`)))
  .concat(100);

export const PRESETS = {
  mistake: (y) => logits(y, [1e-4, 1 - 2e-4, 1e-4]),
  uniform: () => [0, 0, 0],
  right: (y) => logits(y, [0.97, 0.02, 0.01]),
  edge: (y) => logits(y, [1e-4, 0.5 - 5e-5, 0.5 - 5e-5]),
};

// Logits of the probabilities of class y, of the one after it, and of the one before it.
function logits(y, [ofTruth, ofNext, ofLast]) {
  const z = [0, 0, 0];
  z[y] = Math.log(ofTruth);
  z[(y + 1) % 3] = Math.log(ofNext);
  z[(y + 2) % 3] = Math.log(ofLast);
  return gauged(z);
}

export const view = {};

export function firstView() {
  return {
    z: PRESETS.mistake(topClass(TARGET)),
    p: TARGET.slice(),
    rate: 0.5,
    logarithmic: false,
    field: 0,
    hidden: new Set(),
  };
}

export const shown = () => LOSSES.filter((loss) => !view.hidden.has(loss.index));
export const tables = () =>
  LOSSES.filter(
    (loss) => loss.oneHotOnly && (!view.hidden.has(loss.index) || view.field === loss.index),
  );
export const isLocked = () => tables().length > 0;
export const truth = () => topClass(view.p);

let listener;
let isAwaited = false;

// The function is called after a change, at most once a frame.
export function whenChanged(draw) {
  listener = draw;
}

export function change(edits) {
  Object.assign(view, edits);
  if (isLocked() && !isCertain(view.p)) view.p = corner(truth());
  if (isAwaited) return;
  isAwaited = true;
  requestAnimationFrame(() => {
    isAwaited = false;
    listener();
  });
}
