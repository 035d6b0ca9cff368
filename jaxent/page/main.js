// The page is built once. From then on what moves is moved, and nothing is built anew.

import { keepView, recalledView } from "./address.js";
import { drawArrows } from "./arrows.js";
import { charts } from "./charts.js";
import { drawControls, explainGauge, listenToControls } from "./controls.js";
import { listen, listenToKeys } from "./dragging.js";
import { buildChart, drawFrames, measure } from "./frames.js";
import { drawHandles } from "./handles.js";
import { buildScale, recolourField } from "./heat-map.js";
import { logOdds } from "./log-odds.js";
import { velocity } from "./simplex.js";
import { drawTable } from "./table.js";
import { triangle } from "./triangle.js";
import { change, shown, view, whenChanged } from "./view.js";
import { startWork } from "./work.js";

function redraw() {
  drawFrames();
  drawControls();
  const readings = shown().map(read);
  drawHandles();
  drawArrows(readings);
  drawTable(readings);
  recolourField();
  startWork();
  keepView();
}

function read(loss) {
  const [value, ...gradient] = loss.valueAndGradient(view.z, view.p);
  const norm = Math.hypot(...gradient);
  return { loss, value, gradient, norm, velocity: velocity(view.z, gradient) };
}

buildScale();
charts.forEach(buildChart);
charts.forEach(listen);
listenToKeys(triangle, "q");
listenToKeys(triangle, "p");
listenToKeys(logOdds, "q");
listenToControls();
explainGauge();
whenChanged(redraw);
change(recalledView(location.hash));
// Before the event comes, keepView may have put the old view into the address.
addEventListener("hashchange", ({ newURL }) => change(recalledView(new URL(newURL).hash)));
new ResizeObserver(measure).observe(document.querySelector(".charts"));
measure();
