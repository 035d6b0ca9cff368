// An arrow for what moves at a speed: as far as it goes in some time, or longer by as many pixels
// for every power of ten of the speed. One that would be longer than the chart can show is cut.

import { charts } from "./charts.js";
import { colour, polyline } from "./drawing.js";
import { view } from "./view.js";

export const ARROW_TIME = 2;
export const LEAST_POWER = -9;
const PIXELS_A_POWER = 14;

// Long arrows first, so that one that points the same way and is shorter lies upon them.
export function drawArrows(readings) {
  for (const chart of charts) {
    const from = chart.place(view.z);
    const arrows = readings.map(({ loss, gradient }) => [
      loss,
      ...arrowVector(chart.motion(view.z, gradient)),
    ]);
    arrows.sort(([, one], [, other]) => Math.hypot(...other) - Math.hypot(...one));
    chart.arrows.forEach(({ layer, parts }, i) => {
      const [loss, ...vector] = arrows[i] ?? [];
      if (loss) layer.style.setProperty("--colour", colour(loss));
      for (const part of parts) part.setAttribute("d", loss ? arrowShape(from, ...vector) : "");
    });
  }
}

function arrowVector({ moved: [dx, dy], speed, longest }) {
  const length = Math.hypot(dx, dy);
  if (!(length > 0) || length === Infinity) return [[0, 0], false];
  const powers = Math.max(0, Math.log10(speed) - LEAST_POWER);
  const wanted = view.logarithmic ? PIXELS_A_POWER * powers : length * ARROW_TIME;
  const drawn = Math.min(wanted, longest);
  return [[(dx / length) * drawn, (dy / length) * drawn], wanted > longest];
}

function arrowShape([x, y], [dx, dy], isCut) {
  const length = Math.hypot(dx, dy);
  if (length < 1) return "";
  const [ex, ey] = [dx / length, dy / length];
  const head = Math.min(10, length);
  const at = (along, aside) => [x + along * ex - aside * ey, y + along * ey + aside * ex];
  const barb = (end) => {
    const tail = end - head;
    return `${polyline([at(end, 0), at(tail, 0.4 * head), at(tail, -0.4 * head)])}Z`;
  };
  const stem = polyline([at(0, 0), at(length - head / 2, 0)]);
  return stem + barb(length) + (isCut ? barb(length - head) : "");
}
