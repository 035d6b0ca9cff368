// Q glides to where a button sends it, unless the reader's system asks for less motion.

import { change, view } from "./view.js";

let glideNumber = 0;

export function stopGlide() {
  glideNumber += 1;
}

export function glide(z) {
  stopGlide();
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return change({ z });
  const [from, mine, begin] = [view.z, glideNumber, performance.now()];
  const frame = (now) => {
    if (mine !== glideNumber) return;
    const time = Math.min(Math.max((now - begin) / 400, 0), 1);
    const eased = 1 - (1 - time) ** 3;
    change({ z: time === 1 ? z : from.map((one, i) => one + (z[i] - one) * eased) });
    if (time < 1) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}
