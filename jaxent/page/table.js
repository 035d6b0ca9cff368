// The table: what each loss says, as numbers and bars.

import { colour, drawFor, marker } from "./drawing.js";
import { LOSSES } from "./losses.js";
import { CLASSES, isCertain } from "./simplex.js";
import { change, truth, view } from "./view.js";
import { brief, exactly, number, outcome } from "./words.js";

const rows = LOSSES.map(buildRow);

function buildRow(loss) {
  const row = document.getElementById("row").content.firstElementChild.cloneNode(true);
  const find = (selector) => row.querySelector(selector);
  row.style.setProperty("--colour", colour(loss));
  row.dataset.loss = loss.name;
  drawFor(loss, find("svg"), "path").setAttribute("d", "M1 7H43");
  drawFor(loss, find("svg"), "marks").setAttribute("d", marker(loss)(22, 7));
  find("label span").textContent = loss.name;
  for (const words of remarks(loss)) {
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = words;
    find("th").append(note);
  }
  const box = find("input");
  box.hidden = LOSSES.length === 1;
  box.addEventListener("change", () => show(loss, box.checked));
  document.querySelector("tbody").append(row);
  const cells = [...row.querySelectorAll(".bars")];
  return {
    row,
    box,
    bars: cells.map((cell) => [cell.querySelector("span"), cell.querySelector("i")]),
    value: find(".value span"),
    norm: find(".norm span"),
    steps: find(".steps span"),
  };
}

function remarks(loss) {
  const words = [];
  if (!loss.exact) {
    const error = `off by up to ${number(loss.worstError)} of the largest norm`;
    words.push(`An interpolated table, not the function, because of ${loss.reason}: ${error}`);
  }
  if (loss.readsRawLogits) words.push("reads raw logits: shown where they sum to 0");
  return words;
}

function show(loss, isShown) {
  const hidden = new Set(view.hidden);
  if (isShown) hidden.delete(loss.index);
  else hidden.add(loss.index);
  change({ hidden });
}

const READINGS = ["value", "gradient", "norm", "velocity", "steps", "status"];

export function drawTable(readings) {
  const scale = barScale(readings);
  rows.forEach((cells, index) => {
    const reading = readings.find(({ loss }) => loss.index === index);
    cells.row.classList.toggle("off", !reading);
    cells.box.checked = Boolean(reading);
    if (reading) drawRow(cells, reading, scale);
    else for (const name of READINGS) delete cells.row.dataset[name];
  });
  drawHeadings(scale);
}

function drawRow({ row, value, norm, bars }, reading, scale) {
  row.dataset.value = reading.value;
  row.dataset.norm = reading.norm;
  row.dataset.gradient = exactly(reading.gradient);
  row.dataset.velocity = exactly(reading.velocity);
  value.textContent = number(reading.value);
  norm.textContent = number(reading.norm);
  bars.forEach(([words, bar], i) => {
    const g = reading.gradient[i];
    words.textContent = number(g);
    drawBar(bar, g, scale.share(g));
  });
}

export function drawOutcome(run) {
  const { row, steps } = rows[run.loss.index];
  const [status, words] = outcome(run);
  row.dataset.status = status;
  row.dataset.steps = isCertain(run.p) ? (run.tie ?? "") : (run.near ?? "");
  steps.textContent = words;
}

// At least so wide that the sign is seen. NaN is no bar.
function drawBar(bar, g, share) {
  bar.className = g === 0 ? "zero" : "";
  bar.style.left = g > 0 ? "50%" : "";
  bar.style.right = g < 0 ? "50%" : "";
  bar.style.width = g > 0 || g < 0 ? `max(2px, ${50 * share}%)` : "";
}

// One scale for all bars: to the next of 1, 2, 5, 10, …, or twelve decades up to a power of ten.
const BAR_DECADES = 12;

function barScale(readings) {
  const sizes = readings.flatMap(({ gradient }) => gradient.map(Math.abs)).filter(Number.isFinite);
  const largest = Math.max(...sizes, 0) || 1;
  const decade = 10 ** Math.ceil(Math.log10(largest) - 1e-9);
  const rounded = [0.1, 0.2, 0.5, 1].map((part) => part * decade);
  const end = view.logarithmic
    ? Math.max(decade, 1)
    : rounded.find((size) => size >= largest * (1 - 1e-9));
  const share = (g) => {
    const part = Math.abs(g) / end;
    const length = view.logarithmic ? 1 + Math.log10(part) / BAR_DECADES : part;
    return Math.min(Math.max(length, 0), 1) || 0;
  };
  return { end, share };
}

function drawHeadings({ end }) {
  const names = CLASSES.map(
    (i) => `∂L/∂z${"₀₁₂"[i]}${i === truth() && isCertain(view.p) ? ", the truth" : ""}`,
  );
  const goal = isCertain(view.p) ? "steps to the tie" : "steps to P ± 0.01";
  const least = end * 10 ** -BAR_DECADES;
  const labels = [brief(-end), view.logarithmic ? `±${brief(least)}` : "0", brief(end)];
  document.querySelectorAll("thead .bars").forEach((cell, i) => {
    cell.firstChild.textContent = names[i];
    [...cell.lastChild.children].forEach((label, place) => {
      label.textContent = labels[place];
    });
  });
  document.getElementById("goal").textContent = goal;
  // On a narrow screen there are no headings, and each cell has its own.
  for (const { bars, steps } of rows) {
    bars.forEach(([words], i) => {
      words.parentElement.dataset.label = names[i];
    });
    steps.parentElement.dataset.label = goal;
  }
  const middle = view.logarithmic ? `, logarithmic, with ${labels[1]} in the middle` : "";
  document.querySelector("caption").textContent = `Bars from ${labels[0]} to ${labels[2]}${middle}`;
}
