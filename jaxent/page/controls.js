// Buttons, choices, and the sentences that depend on them.

import { ARROW_TIME, LEAST_POWER } from "./arrows.js";
import { glide } from "./glide.js";
import { LOSSES } from "./losses.js";
import { change, firstView, isLocked, PRESETS, RATES, tables, truth, view } from "./view.js";
import { powerOfTen } from "./words.js";

export function listenToControls() {
  for (const button of document.querySelectorAll("[data-preset]")) {
    button.addEventListener("click", () => glide(PRESETS[button.dataset.preset](truth())));
  }
  document.getElementById("reset").addEventListener("click", () => {
    const { z, ...rest } = firstView();
    change(rest);
    glide(z);
  });
  const rate = document.getElementById("rate");
  rate.max = RATES.length - 1;
  rate.addEventListener("input", () => change({ rate: RATES[rate.value] }));
  const select = document.getElementById("field");
  const choices = [["-1", "none"], ...LOSSES.map((loss) => [loss.index, loss.name])];
  for (const [value, name] of choices) select.append(new Option(name, value));
  select.addEventListener("change", () => change({ field: Number(select.value) }));
  for (const input of document.querySelectorAll("[name=scale]")) {
    input.addEventListener("change", () => change({ logarithmic: input.value === "logarithmic" }));
  }
}

export function drawControls() {
  document.getElementById("rate").value = RATES.indexOf(view.rate);
  document.getElementById("rate").setAttribute("aria-valuetext", `${view.rate}`);
  document.getElementById("rate-shown").textContent = `${view.rate}`;
  document.getElementById("field").value = view.field;
  document.querySelector(`[value=${view.logarithmic ? "logarithmic" : "linear"}]`).checked = true;
  document.getElementById("arrow-scale").textContent = view.logarithmic
    ? `its length counts the powers of ten of the speed, from ${powerOfTen(LEAST_POWER)} on`
    : `as far as Q would go in ${ARROW_TIME} units of time`;
  const locked = document.getElementById("locked");
  locked.hidden = !isLocked();
  const names = tables()
    .map((loss) => loss.name)
    .join(", ");
  locked.textContent = `P stays in the corners, for which the table of ${names} was made.`;
}

export function explainGauge() {
  const names = LOSSES.filter((loss) => loss.readsRawLogits).map((loss) => loss.name);
  const note = document.getElementById("gauge");
  note.hidden = names.length === 0;
  note.textContent =
    "Q leaves open a number that is common to all logits, which " +
    `${names.join(" and ")} can tell: Q here has the logits that sum to 0.`;
}
