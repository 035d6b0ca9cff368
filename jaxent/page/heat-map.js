// The background: the norm of one loss's gradient, at one point in every few pixels.

import { charts, sizes } from "./charts.js";
import { LOSSES } from "./losses.js";
import { view } from "./view.js";
import { brief, number } from "./words.js";

const CELL = 5;
const CIVIDIS = `00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8c8878 9b9476
  aba072 bcae6c cdbb63 dec958 f0d846 fee838`
  .split(/\s+/)
  .map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
const FIELD_DECADES = 6;

const field = { asked: "", steps: null, results: [], isLogarithmic: false };

export function buildScale() {
  document.querySelector("#field-scale i").style.background =
    `linear-gradient(to right, ${CIVIDIS.map((parts) => `rgb(${parts})`).join(", ")})`;
}

// True as long as there is more to do. What was begun is finished even if P has moved on, lest
// nothing be seen to change while P is dragged.
export function paintField(milliseconds) {
  const deadline = performance.now() + milliseconds;
  const asked = [view.field, view.p, sizes()].join();
  if (!field.steps && asked !== field.asked) {
    field.asked = asked;
    field.steps = examine(LOSSES[view.field]);
  }
  while (field.steps && performance.now() < deadline) {
    if (field.steps.next().done) field.steps = null;
  }
  return field.steps !== null || asked !== field.asked;
}

function* examine(loss) {
  const p = view.p;
  const results = [];
  for (const chart of loss ? charts : []) {
    const [columns, lines] = [Math.ceil(chart.width / CELL), Math.ceil(chart.height / CELL)];
    if (columns * lines === 0) continue; // a page in a frame that is hidden has no size
    const norms = new Float64Array(columns * lines).fill(-1);
    for (let line = 0; line < lines; line += 1) {
      for (let column = 0; column < columns; column += 1) {
        const point = [(column + 0.5) * CELL, (line + 0.5) * CELL];
        if (!chart.covers(point)) continue;
        const [, ...g] = loss.valueAndGradient(chart.logitsAt(point), p);
        norms[line * columns + column] = Math.hypot(...g);
      }
      yield;
    }
    results.push({ chart, columns, lines, norms });
  }
  field.results = results;
  colourField();
}

// With another scale, other colours.
export function recolourField() {
  if (field.isLogarithmic !== view.logarithmic) colourField();
}

export function colourField() {
  const { results } = field;
  field.isLogarithmic = view.logarithmic;
  const finite = results.flatMap(({ norms }) => [...norms].filter(Number.isFinite));
  const largest = finite.reduce((a, b) => Math.max(a, b), 0);
  const share = view.logarithmic
    ? (norm) => 1 + Math.log10(norm / largest) / FIELD_DECADES
    : (norm) => norm / largest;
  for (const { canvas } of charts) {
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  }
  for (const result of results) paint(result, share);
  const scale = document.getElementById("field-scale");
  scale.hidden = results.length === 0;
  scale.firstChild.textContent = view.logarithmic ? brief(largest * 10 ** -FIELD_DECADES) : "0";
  scale.lastChild.textContent = number(largest);
}

function paint({ chart, columns, lines, norms }, share) {
  const image = new ImageData(columns, lines);
  norms.forEach((norm, i) => {
    if (norm < 0) return;
    const place = Math.min(Math.max(share(norm) || 0, 0), 1) * (CIVIDIS.length - 1);
    const [before, rest] = [Math.floor(place), place % 1];
    const after = Math.min(before + 1, CIVIDIS.length - 1);
    for (const part of [0, 1, 2]) {
      image.data[4 * i + part] = CIVIDIS[before][part] * (1 - rest) + CIVIDIS[after][part] * rest;
    }
    image.data[4 * i + 3] = 255;
  });
  const small = Object.assign(document.createElement("canvas"), { width: columns, height: lines });
  small.getContext("2d").putImageData(image, 0, 0);
  const context = chart.canvas.getContext("2d");
  context.save();
  context.scale(devicePixelRatio, devicePixelRatio);
  context.clip(new Path2D(chart.outline()));
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, columns * CELL, lines * CELL);
  context.restore();
}
