// The paths of descent, one of each loss that is shown.

import { charts } from "./charts.js";
import { advance, startRun } from "./descent.js";
import { marker, polyline } from "./drawing.js";
import { LOSSES } from "./losses.js";
import { drawOutcome } from "./table.js";
import { shown, view } from "./view.js";

let runs = [];

export function startRuns() {
  runs = shown().map((loss) => startRun(loss, view));
}

// What one run leaves of its share of the time, the next ones have.
export function advanceRuns(milliseconds) {
  const unfinished = runs.filter((run) => !run.ended);
  const begin = performance.now();
  unfinished.forEach((run, i) => {
    advance(run, begin + (milliseconds * (i + 1)) / unfinished.length);
  });
  return unfinished.length > 0;
}

export function drawRuns() {
  for (const chart of charts) {
    for (const loss of LOSSES) {
      const run = runs.find((one) => one.loss === loss);
      const line = run ? polyline(run.points.map((z) => chart.place(z))) : "";
      const marks = run ? run.marks.map((z) => marker(loss)(...chart.place(z))).join("") : "";
      for (const path of chart.paths[loss.index]) path.setAttribute("d", line);
      chart.marks[loss.index].setAttribute("d", marks);
    }
  }
  for (const run of runs) drawOutcome(run);
}
