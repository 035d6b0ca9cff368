// Q and P are moved by a pointer or by keys.

import { stopGlide } from "./glide.js";
import { corner, projected, topClass } from "./simplex.js";
import { triangle } from "./triangle.js";
import { change, isLocked, view } from "./view.js";

function moveQ(chart, point) {
  stopGlide();
  change({ z: chart.logitsAt(point) });
}

// A P dragged to within a few pixels of a corner is meant to be in it.
function settled(p) {
  const inside = projected(p);
  return isLocked() || Math.max(...inside) > 0.97 ? corner(topClass(inside)) : inside;
}

export function listen(chart) {
  const { svg } = chart;
  let drag = null;

  const pointOf = (event) => {
    const box = svg.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const follow = (event) => {
    const [x, y] = pointOf(event);
    const point = [x - drag.offset[0], y - drag.offset[1]];
    if (drag.what === "p") change({ p: settled(triangle.probabilitiesAt(point)) });
    else moveQ(chart, point);
  };
  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || drag) return;
    drag = grab(chart, pointOf(event), event.pointerType === "touch");
    drag.pointer = event.pointerId;
    svg.setPointerCapture(event.pointerId);
    // A finger beside the handles may be about to scroll the page: Q comes when it is lifted.
    if (drag.what === "tap") return;
    event.preventDefault();
    chart[drag.what].focus({ focusVisible: false });
    svg.classList.add("dragging");
    follow(event);
  });
  // A finger on a handle does not scroll. (On parts of an SVG, touch-action does not see to that.)
  const hold = (event) => drag && drag.what !== "tap" && event.preventDefault();
  svg.addEventListener("touchstart", hold, { passive: false });
  svg.addEventListener("pointermove", (event) => {
    if (drag?.pointer === event.pointerId && drag.what !== "tap") follow(event);
  });
  const drop = (event) => {
    if (drag?.pointer !== event.pointerId) return;
    if (drag.what === "tap" && event.type === "pointerup") moveQ(chart, pointOf(event));
    drag = null;
    svg.classList.remove("dragging");
  };
  svg.addEventListener("pointerup", drop);
  svg.addEventListener("pointercancel", drop);
}

// What a pointer takes hold of: the nearer of Q and P if one is in reach, or else Q comes to it.
function grab(chart, point, isTouch) {
  const places = { q: chart.place(view.z) };
  if (chart === triangle) places.p = triangle.at(view.p);
  const reach = isTouch ? 22 : 14;
  let found = { what: isTouch ? "tap" : "q", offset: [0, 0], distance: reach };
  for (const [what, [x, y]] of Object.entries(places)) {
    const offset = [point[0] - x, point[1] - y];
    const distance = Math.hypot(...offset);
    if (distance < found.distance) found = { what, offset, distance };
  }
  return found;
}

const ARROW_KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function listenToKeys(chart, what) {
  chart[what].addEventListener("keydown", (event) => {
    const direction = ARROW_KEYS[event.key];
    if (!direction) return;
    event.preventDefault();
    const side = chart === triangle ? chart.side : Math.min(chart.across, chart.down);
    const share = event.shiftKey ? 0.05 : event.altKey || event.ctrlKey ? 0.001 : 0.01;
    const by = what === "p" && isLocked() ? 0.8 : share;
    const [x, y] = what === "p" ? triangle.at(view.p) : chart.place(view.z);
    const point = [x + direction[0] * by * side, y + direction[1] * by * side];
    if (what === "q") return moveQ(chart, point);
    const p = projected(triangle.probabilitiesAt(point));
    change({ p: isLocked() ? corner(topClass(p)) : p });
  });
}
