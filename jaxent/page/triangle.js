// The triangle of probabilities: where logits stand in it, which logits stand at a point, and how
// far g moves them.

import { draw, polyline } from "./drawing.js";
import { CLASSES, corner, gauged, projected, softmax, velocity } from "./simplex.js";
import { LEAST } from "./view.js";

const HEIGHT = Math.sqrt(3) / 2; // of a triangle whose side is 1

export const triangle = {
  svg: document.getElementById("triangle"),

  layout() {
    const room = Math.min(this.width - 32, (this.height - 62) / HEIGHT);
    this.side = Math.max(room, 60);
    this.left = (this.width - this.side) / 2;
    this.top = 16;
  },
  at(q) {
    const { left, top, side } = this;
    return [left + side * (0.5 + (q[2] - q[1]) / 2), top + side * HEIGHT * (1 - q[0])];
  },
  place(z) {
    return this.at(softmax(z));
  },
  probabilitiesAt([x, y]) {
    const height = 1 - (y - this.top) / (this.side * HEIGHT);
    const right = 2 * ((x - this.left) / this.side - 0.5);
    return [height, (1 - height - right) / 2, (1 - height + right) / 2];
  },
  logitsAt(point) {
    const q = projected(this.probabilitiesAt(point));
    return gauged(q.map((one) => Math.log(Math.max(one, LEAST))));
  },
  covers(point) {
    return Math.min(...this.probabilitiesAt(point)) > -0.06;
  },
  motion(z, g) {
    const dq = velocity(z, g);
    const moved = [(this.side * (dq[2] - dq[1])) / 2, -this.side * HEIGHT * dq[0]];
    return { moved, speed: Math.hypot(...dq), longest: 0.7 * this.side };
  },
  outline() {
    return `${polyline(CLASSES.map((i) => this.at(corner(i))))}Z`;
  },
  tieLine(y) {
    const tied = (other) => CLASSES.map((i) => (i === y || i === other ? 0.5 : 0));
    const corners = [tied((y + 1) % 3), [1 / 3, 1 / 3, 1 / 3], tied((y + 2) % 3)];
    return polyline(corners.map((q) => this.at(q)));
  },
  frame(layer) {
    for (const share of [0.25, 0.5, 0.75]) {
      const ends = [
        [share, 1 - share, 0],
        [share, 0, 1 - share],
      ];
      for (const i of CLASSES) {
        const turned = ends.map((q) => CLASSES.map((j) => q[(j - i + 3) % 3]));
        draw(layer, "path", { class: "grid", d: polyline(turned.map((q) => this.at(q))) });
      }
    }
    const offsets = [
      [-18, 2, "end"],
      [-10, 26, "start"],
      [10, 26, "end"],
    ];
    this.shares = offsets.map(([dx, dy, anchor], i) => {
      const place = this.at(corner(i));
      const [x, y] = [place[0] + dx, place[1] + dy];
      draw(layer, "text", { class: "loud", x, y, "text-anchor": anchor }, `class ${i}`);
      return draw(layer, "text", { class: "shares", x, y: y + 16, "text-anchor": anchor });
    });
  },
};
