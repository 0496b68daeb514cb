// Small curves over steps.
import { colour, sized } from "./draw.js";

/**
 * Curves [{values, colour}] over steps `from` to `to`, of which `values` begins with `from`; `threshold` is a dashed line, `marks` (steps) are shaded, and
 * `cursor` (a step) is a line.
 */
export function drawChart(canvas, curves, { from = 0, to = 1, threshold = null, low = null, high = null, marks = [], cursor = null } = {}) {
  const width = canvas.clientWidth || 240;
  const height = canvas.clientHeight || 70;
  const context = sized(canvas, width, height);
  const shown = curves.flatMap((curve) => curve.values).filter((value) => value !== null && value !== undefined);
  const least = low ?? Math.min(...shown, threshold ?? Infinity, 0);
  const most = high ?? Math.max(...shown, (threshold ?? -Infinity) * 1.15, least + 1e-9);
  const x = (step) => 2 + ((step - from) / Math.max(1, to - from)) * (width - 4);
  const y = (value) => height - 3 - ((Math.min(most, Math.max(least, value)) - least) / (most - least || 1)) * (height - 6);
  context.fillStyle = colour("--halt");
  for (const step of marks) if (step >= from && step <= to) context.fillRect(x(step - 0.5), 0, Math.max(2, x(step + 0.5) - x(step - 0.5)), height);
  context.strokeStyle = colour("--grid");
  context.strokeRect(0.5, 0.5, width - 1, height - 1);
  if (threshold !== null) {
    context.setLineDash([4, 4]);
    context.strokeStyle = colour("--muted");
    context.beginPath();
    context.moveTo(0, y(threshold));
    context.lineTo(width, y(threshold));
    context.stroke();
    context.setLineDash([]);
  }
  context.lineWidth = 1.6;
  for (const curve of curves) {
    context.strokeStyle = context.fillStyle = colour(curve.colour ?? "--blue");
    context.beginPath();
    let begun = false;
    for (let step = from; step <= to; step++) {
      const value = curve.values[step - from];
      if (value === null || value === undefined) continue;
      context[begun ? "lineTo" : "moveTo"](x(step), y(value));
      begun = true;
    }
    context.stroke();
  }
  if (cursor !== null) {
    context.strokeStyle = colour("--ink");
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x(cursor), 0);
    context.lineTo(x(cursor), height);
    context.stroke();
  }
}

/** A chart with its title and its present value: {element, show(curves, options, text)}. */
export function figure(title, h) {
  const canvas = h("canvas", { role: "img", "aria-label": title });
  const value = h("b", {}, "–");
  const element = h("figure", {}, canvas, h("figcaption", {}, h("span", {}, title), value));
  return { element, show(curves, options, text) { drawChart(canvas, curves, options); value.textContent = text; } };
}
