// A small graph of the last minute on a canvas.

import { KEPT } from './stats.js';

const HEADROOM = 1.15;

/**
 * Draws values, the newest at the right edge; undefined ones leave a gap. The
 * colours are the canvas's own: "color" draws the line, "border-color" the ground.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {(number|undefined)[]} values at most KEPT
 * @param {number} least the top of the scale is at least this
 */
export function draw(canvas, values, least) {
  const scale = devicePixelRatio;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width || !height) return;
  const style = getComputedStyle(canvas);
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);

  const g = canvas.getContext('2d');
  g.setTransform(scale, 0, 0, scale, 0, 0);
  g.clearRect(0, 0, width, height);
  const bottom = height - 0.5;
  const top = Math.max(least, ...values.map((v) => v ?? 0)) * HEADROOM;
  const x = (i) => width - ((values.length - 1 - i) * width) / (KEPT - 1);
  const y = (v) => bottom - (v / top) * (height - 3);

  g.strokeStyle = style.borderTopColor;
  g.lineWidth = 1;
  for (const share of [0, 0.5, 1]) line(g, [[0, bottom - share * (height - 1)], [width, bottom - share * (height - 1)]]);

  g.strokeStyle = g.fillStyle = style.color;
  g.lineWidth = 1.75;
  g.lineJoin = g.lineCap = 'round';
  for (const run of runs(values)) {
    const points = run.map((i) => [x(i), y(values[i])]);
    g.globalAlpha = 0.16;
    g.beginPath();
    g.moveTo(points[0][0], bottom);
    for (const point of points) g.lineTo(...point);
    g.lineTo(points.at(-1)[0], bottom);
    g.fill();
    g.globalAlpha = 1;
    line(g, points);
  }
}

function line(g, points) {
  g.beginPath();
  for (const point of points) g.lineTo(...point);
  g.stroke();
}

/**
 * The indices of known values that stand side by side.
 * @param {(number|undefined)[]} values
 * @returns {number[][]}
 */
export function runs(values) {
  const found = [];
  values.forEach((v, i) => {
    if (v === undefined) return;
    if (i > 0 && values[i - 1] !== undefined) found.at(-1).push(i);
    else found.push([i]);
  });
  return found;
}
