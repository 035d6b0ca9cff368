// Q and P as they are seen in the charts and taken hold of.

import { charts } from "./charts.js";
import { draw } from "./drawing.js";
import { logOdds } from "./log-odds.js";
import { isCertain, softmax } from "./simplex.js";
import { triangle } from "./triangle.js";
import { EDGE, truth, view } from "./view.js";
import { exactly, percent, spoken } from "./words.js";

export function buildMark({ svg }) {
  const mark = draw(svg, "g", { class: "p", "aria-hidden": "true" });
  draw(mark, "path");
  draw(mark, "text", { "text-anchor": "middle" }, "P");
  return mark;
}

export function buildHandle(chart, name, label) {
  const handle = draw(chart.svg, "g", {
    class: `handle ${name}`,
    tabindex: 0,
    role: "slider",
    "aria-label": label,
    "aria-roledescription": "two-dimensional slider",
    "aria-valuemin": 0,
    "aria-valuemax": 100,
  });
  draw(handle, "circle", { class: "reach", r: 22 });
  draw(handle, "circle", { class: "focus", r: 14 });
  if (name === "q") draw(handle, "circle", { class: "shape", r: 8 });
  else draw(handle, "path", { class: "shape", d: "M0 -9l9 9l-9 9l-9 -9Z" });
  draw(handle, "text", { y: name === "q" ? -9 : 5 }, name.toUpperCase());
  return handle;
}

export function drawHandles() {
  const q = softmax(view.z);
  for (const chart of charts) {
    chart.svg.dataset.z = exactly(view.z);
    chart.svg.dataset.q = exactly(q);
    chart.svg.dataset.p = exactly(view.p);
    moveHandle(chart.q, chart.place(view.z), chart, q[truth()], spoken(q));
  }
  const [[qx, qy], [px, py]] = [triangle.place(view.z), triangle.at(view.p)];
  triangle.q.lastChild.setAttribute("y", Math.hypot(qx - px, qy - py) < 32 ? 22 : -9);
  moveHandle(triangle.p, triangle.at(view.p), triangle, view.p[0], spoken(view.p));
  drawPInLogOdds();
  triangle.shares.forEach((words, i) => {
    words.textContent = `q ${percent(q[i])}   p ${percent(view.p[i])}`;
  });
}

function moveHandle(handle, [x, y], chart, share, words) {
  handle.setAttribute("transform", `translate(${x} ${y})`);
  handle.setAttribute("aria-valuenow", 100 * share);
  handle.setAttribute("aria-valuetext", words);
  // The letter stands on the outer side, away from arrows and paths.
  const isRight = x > chart.width / 2 - 10;
  const letter = handle.lastChild;
  letter.setAttribute("x", isRight ? 14 : -14);
  letter.setAttribute("text-anchor", isRight ? "start" : "end");
}

// A certain P has no place in the log-odds chart: it is beyond the right edge, at every height.
function drawPInLogOdds() {
  const [shape, letter] = logOdds.p.children;
  const [y, { p }] = [truth(), view];
  const within = (odds) => Math.min(Math.max(odds || 0, -EDGE), EDGE);
  const u = within(Math.log(p[y] / (1 - p[y])));
  const v = isCertain(p) ? EDGE : within(Math.log(p[(y + 1) % 3] / p[(y + 2) % 3]));
  const [px, py] = logOdds.at([u, v]);
  shape.setAttribute("class", isCertain(p) ? "beyond" : "shape");
  const outline = isCertain(p) ? `v${logOdds.down}` : "m0 -9l9 9l-9 9l-9 -9Z";
  shape.setAttribute("d", `M${px} ${py}${outline}`);
  letter.setAttribute("x", isCertain(p) ? px : px + 20);
  letter.setAttribute("y", isCertain(p) ? py - 7 : py + 5);
}
