// Numbers in words.

import { MOST_STEPS } from "./descent.js";
import { CLASSES, isCertain } from "./simplex.js";

export function number(x) {
  if (Number.isNaN(x)) return "NaN";
  const size = Math.abs(x);
  let digits = size.toPrecision(4);
  if (size === Infinity) digits = "∞";
  else if (size === 0) digits = "0";
  else if (size < 1e-3 || size >= 1e4) digits = size.toExponential(2).replace("+", "");
  return (x < 0 ? "−" : "") + digits;
}

export const brief = (x) =>
  number(x)
    .replace(/(\.\d*?)0+(?=e|$)/, "$1")
    .replace(/\.(?=e|$)/, "");

// With as many digits as it takes to see how far it is from 0 or from 100 %.
export function percent(share) {
  const least = 100 * Math.min(share, 1 - share);
  if (least === 0) return `${100 * share} %`;
  if (share < 1e-7) return `${number(100 * share)} %`;
  const decimals = Math.min(12, 2 - Math.floor(Math.log10(least)));
  return `${(100 * share).toFixed(decimals)} %`;
}

const SUPERSCRIPTS = { "-": "⁻", ...[..."⁰¹²³⁴⁵⁶⁷⁸⁹"] };
export const powerOfTen = (power) =>
  `10${[...`${power}`].map((sign) => SUPERSCRIPTS[sign]).join("")}`;
export const spoken = (p) => CLASSES.map((i) => `class ${i} ${percent(p[i])}`).join(", ");
export const exactly = (numbers) => `[${Array.from(numbers).join(", ")}]`;

const grouped = new Intl.NumberFormat("en").format;

// What the last column says of a run, and in one word for whoever reads the page by machine.
export function outcome(run) {
  const reached = isCertain(run.p) ? run.tie : run.near;
  if (reached === 0) return ["already", isCertain(run.p) ? "already right" : "already there"];
  if (reached !== null) return ["reached", grouped(reached)];
  if (run.ended === "limit") return ["limit", `> ${grouped(MOST_STEPS)}`];
  if (run.ended === "diverged") return ["diverged", `diverges at ${grouped(run.steps + 1)}`];
  if (run.ended === "flat") return ["flat", "never: gradient is 0"];
  if (run.ended === "stuck") return ["stuck", "never: step is lost in rounding"];
  return ["counting", `> ${grouped(run.steps)} …`];
}
