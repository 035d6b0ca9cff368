// What takes longer than a frame goes on between frames, a few milliseconds at a time.

import { paintField } from "./heat-map.js";
import { advanceRuns, drawRuns, startRuns } from "./paths.js";

const AT_ONCE = 4;
let isWorking = false;

export function startWork() {
  startRuns();
  advanceRuns(AT_ONCE);
  drawRuns();
  if (isWorking) return;
  isWorking = true;
  setTimeout(work);
}

function work() {
  const isPainting = paintField(AT_ONCE);
  const isRunning = !isPainting && advanceRuns(AT_ONCE);
  if (isRunning) drawRuns();
  isWorking = isPainting || isRunning;
  if (isWorking) setTimeout(work);
}
