// The chart of log-odds: where logits stand in it, which logits stand at a point, and how far g
// moves them.

import { draw, polyline } from "./drawing.js";
import { fromLogOdds, isCertain, logOddsVelocity, toLogOdds } from "./simplex.js";
import { EDGE, truth, view } from "./view.js";
import { powerOfTen } from "./words.js";

export const logOdds = {
  svg: document.getElementById("log-odds"),

  layout() {
    this.left = 52;
    this.top = 26;
    this.across = this.width - this.left - 24;
    this.down = this.height - this.top - 44;
  },
  at([u, v]) {
    const far = EDGE + 2; // a path may go on out of the picture, but not to pixel 10⁹
    const within = (x) => Math.min(Math.max(x, -far), far);
    return [
      this.left + (this.across * (within(u) + EDGE)) / (2 * EDGE),
      this.top + (this.down * (EDGE - within(v))) / (2 * EDGE),
    ];
  },
  place(z) {
    return this.at(toLogOdds(z, truth()));
  },
  logitsAt([x, y]) {
    const within = (share) => EDGE * (2 * Math.min(Math.max(share, 0), 1) - 1);
    const odds = [within((x - this.left) / this.across), within(1 - (y - this.top) / this.down)];
    return fromLogOdds(odds, truth());
  },
  covers() {
    return true;
  },
  motion(z, g) {
    const [du, dv] = logOddsVelocity(z, g, truth());
    const moved = [(du * this.across) / (2 * EDGE), (-dv * this.down) / (2 * EDGE)];
    return { moved, speed: Math.hypot(du, dv), longest: 0.5 * this.down };
  },
  outline() {
    const corners = [
      [-EDGE, EDGE],
      [EDGE, EDGE],
      [EDGE, -EDGE],
      [-EDGE, -EDGE],
    ];
    return `${polyline(corners.map((odds) => this.at(odds)))}Z`;
  },
  tieLine() {
    const heights = Array.from({ length: 81 }, (_, i) => EDGE * (i / 40 - 1));
    return polyline(heights.map((v) => this.at([-Math.log1p(Math.exp(-Math.abs(v))), v])));
  },
  frame(layer) {
    const [bottom, right] = [this.top + this.down, this.left + this.across];
    for (const power of [-6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6]) {
      const odds = Math.sign(power) * Math.log(10 ** Math.abs(power) - 1 || 1);
      const [x, y] = this.at([odds, odds]);
      const lines = `M${x} ${this.top}V${bottom}M${this.left} ${y}H${right}`;
      draw(layer, "path", { class: "grid", d: lines });
      if (power % 2) continue;
      const small = powerOfTen(-Math.abs(power));
      const label = power === 0 ? "½" : power < 0 ? small : `1−${small}`;
      draw(layer, "text", { x, y: bottom + 16, "text-anchor": "middle" }, label);
      draw(layer, "text", { x: this.left - 6, y: y + 4, "text-anchor": "end" }, label);
    }
    const write = (x, y, anchor, text) =>
      draw(layer, "text", { class: "loud", x, y, "text-anchor": anchor }, text);
    const likeliest = truth();
    const name = isCertain(view.p) ? "the truth" : "likeliest in P";
    write(right, this.height - 8, "end", `probability of class ${likeliest}, ${name} →`);
    const next = (likeliest + 1) % 3;
    write(0, 14, "start", `↑ share of class ${next} in what class ${likeliest} leaves`);
    if (isCertain(view.p)) write(this.at([0, 0])[0] + 6, bottom - 7, "start", "tie");
  },
};
