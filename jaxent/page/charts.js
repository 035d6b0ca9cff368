// The two charts.

import { logOdds } from "./log-odds.js";
import { triangle } from "./triangle.js";

export const charts = [triangle, logOdds];
export const sizes = () => charts.flatMap(({ width, height }) => [width, height]);
