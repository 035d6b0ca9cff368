// What stands still while Q moves: the elements of a chart, its frame, its size.

import { charts, sizes } from "./charts.js";
import { draw, drawFor } from "./drawing.js";
import { buildHandle, buildMark } from "./handles.js";
import { colourField } from "./heat-map.js";
import { LOSSES } from "./losses.js";
import { isCertain } from "./simplex.js";
import { triangle } from "./triangle.js";
import { change, truth, view } from "./view.js";

export function buildChart(chart) {
  const { svg } = chart;
  chart.canvas = svg.previousElementSibling;
  const name = svg.id;
  const clip = draw(draw(svg, "clipPath", { id: `inside-${name}` }), "path");
  chart.frameLayer = draw(svg, "g", { "aria-hidden": "true" });
  chart.tie = draw(svg, "path", { class: "tie" });
  const paths = draw(svg, "g", { "clip-path": `url(#inside-${name})` });
  chart.border = draw(svg, "path", { class: "outline" });
  chart.clip = clip;
  chart.paths = LOSSES.map((loss) => ["halo", "path"].map((part) => drawFor(loss, paths, part)));
  chart.marks = LOSSES.map((loss) => drawFor(loss, paths, "marks"));
  chart.p = chart === triangle ? buildHandle(chart, "p", "P, the truth") : buildMark(chart);
  chart.q = buildHandle(chart, "q", "Q, the prediction");
  chart.arrows = LOSSES.map(() => {
    const layer = draw(svg, "g", { "pointer-events": "none" });
    const parts = ["arrow-halo", "arrow"].map((part) => draw(layer, "path", { class: part }));
    return { layer, parts };
  });
}

let drawn;

export function drawFrames() {
  const asked = [truth(), isCertain(view.p), sizes()].join();
  if (asked === drawn) return;
  drawn = asked;
  for (const chart of charts) {
    chart.svg.setAttribute("viewBox", `0 0 ${chart.width} ${chart.height}`);
    chart.frameLayer.replaceChildren();
    chart.frame(chart.frameLayer);
    chart.tie.setAttribute("d", isCertain(view.p) ? chart.tieLine(truth()) : "");
    chart.border.setAttribute("d", chart.outline());
    chart.clip.setAttribute("d", chart.outline());
  }
}

export function measure() {
  const before = sizes().join();
  for (const chart of charts) {
    const { clientWidth, clientHeight } = chart.svg.parentElement;
    Object.assign(chart, { width: clientWidth, height: clientHeight });
  }
  if (sizes().join() === before) return;
  for (const chart of charts) {
    chart.canvas.width = chart.width * devicePixelRatio;
    chart.canvas.height = chart.height * devicePixelRatio;
    chart.layout();
  }
  colourField();
  change({});
}
