// The address holds the view, once it is another than the first.

import { LOSSES } from "./losses.js";
import { gauged } from "./simplex.js";
import { EDGE, firstView, RATES, view } from "./view.js";

let keeper;

export function keepView() {
  if (location.protocol === "about:") return; // within another page: there is no address to keep
  clearTimeout(keeper);
  keeper = setTimeout(() => {
    const words = described(view);
    const hash = words === described(firstView()) ? "" : `#${words}`;
    history.replaceState(null, "", location.pathname + location.search + hash);
  }, 300);
}

function described({ z, p, rate, logarithmic, field, hidden }) {
  const scale = logarithmic ? "logarithmic" : "linear";
  const parts = { z, p, rate, scale, colour: field, hidden: [...hidden] };
  return Object.entries(parts)
    .map(([name, value]) => `${name}=${value}`)
    .join("&");
}

export function recalledView(hash) {
  const parts = new URLSearchParams(hash.slice(1));
  const numbers = (name) => (parts.get(name) || "").split(",").filter(Boolean).map(Number);
  const [z, p, [rate], [colour]] = ["z", "p", "rate", "colour"].map(numbers);
  const isPlace = z.length === 3 && z.every((one) => Math.abs(one) <= 3 * EDGE);
  const sum = p.reduce((a, b) => a + b, 0);
  const isTarget = p.length === 3 && p.every((one) => one >= 0) && Math.abs(sum - 1) < 1e-6;
  const first = firstView();
  return {
    z: isPlace ? gauged(z) : first.z,
    p: isTarget ? p : first.p,
    rate: RATES.includes(rate) ? rate : first.rate,
    logarithmic: parts.get("scale") === "logarithmic",
    field: colour === -1 || LOSSES[colour] ? colour : first.field,
    hidden: new Set(numbers("hidden").filter((index) => LOSSES[index])),
  };
}
