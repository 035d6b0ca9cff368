// Drawing in SVG, and what tells the losses apart.

export function draw(parent, tag, attributes = {}, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  parent.append(node);
  return node;
}

const atPixel = ([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`;
export const polyline = (points) => `M${points.map(atPixel).join("L")}`;

// Loss after loss its own colour, dash and marker: no one has to tell them apart by hue.
const DASHES = [[], [8, 7], [4, 8], [12, 7, 4, 7], [18, 7], [6, 6]];
const MARKERS = [
  (x, y) => `M${x - 4} ${y}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z`,
  (x, y) => `M${x - 3.5} ${y - 3.5}h7v7h-7Z`,
  (x, y) => `M${x} ${y - 5}l4.5 8h-9Z`,
  (x, y) => `M${x} ${y - 5}l5 5l-5 5l-5 -5Z`,
  (x, y) => `M${x} ${y + 5}l4.5 -8h-9Z`,
  (x, y) => `M${x - 5} ${y - 2}h3v-3h4v3h3v4h-3v3h-4v-3h-3Z`,
];
const of = (choices, loss) => choices[loss.index % choices.length];
export const colour = (loss) => `var(--loss-${loss.index % 7})`;
export const marker = (loss) => of(MARKERS, loss);

export function drawFor(loss, layer, part) {
  const path = draw(layer, "path", { class: part });
  path.style.setProperty("--colour", colour(loss));
  if (part === "marks") return path;
  // A halo goes around every dash and leaves the gaps open: where two paths run on each other,
  // both are seen.
  const border = part === "halo" ? 1.5 : 0;
  const lengths = of(DASHES, loss).map((length, i) => length + (i % 2 ? -2 : 2) * border);
  path.setAttribute("stroke-dasharray", lengths.join(" ") || "none");
  path.setAttribute("stroke-dashoffset", border);
  return path;
}
