// The panel with figures and graphs of one camera.

import { draw } from './graph.js';
import { setText } from './tile.js';
import * as words from './words.js';

/** What the graphs show: the key of a sample, how a value reads, the least top of the scale. */
const graphs = {
  bitrate: { read: words.bitrate, least: 500_000 },
  latency: { read: words.milliseconds, least: 100 },
  loss: { read: words.loss, least: 0.01 },
  fps: { read: words.fps, least: 10 },
};

export class Details {
  #element;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element;
  }

  get open() {
    return !this.#element.hidden;
  }

  set open(open) {
    this.#element.hidden = !open;
  }

  /**
   * @param {import('./tile.js').Tile} tile
   * @param {import('./status.js').Push[]} pushes of all cameras
   */
  render({ player, camera }, pushes) {
    if (!this.open || document.hidden) return;
    for (const figure of this.#element.querySelectorAll('[data-graph]')) this.#graph(figure, player.history);
    for (const [name, value] of Object.entries(facts(player, camera, pushes))) {
      const cell = this.#element.querySelector(`[data-fact="${name}"]`);
      setText(cell, value);
      cell.parentElement.hidden = value === '';
    }
  }

  #graph(figure, history) {
    const key = figure.dataset.graph;
    const { read, least } = graphs[key];
    const values = history.samples.map((s) => s[key]);
    const known = values.filter((v) => v !== undefined);
    const now = history.mean(key, 3);
    setText(figure.querySelector('output'), now === undefined ? '–' : read(now));
    const canvas = figure.querySelector('canvas');
    canvas.setAttribute('aria-label', known.length ? `last minute: ${read(Math.min(...known))} to ${read(Math.max(...known))}` : 'nothing measured yet');
    draw(canvas, values, least);
  }
}

/**
 * @param {import('./player.js').Player} player
 * @param {import('./status.js').Camera|undefined} camera
 * @param {import('./status.js').Push[]} pushes of all cameras
 * @returns {Record<string, string>} by the name of the cell
 */
function facts({ counters }, camera, pushes) {
  const source = [camera?.mode, camera?.detail].filter(Boolean).join(': ');
  return {
    path: { udp: 'UDP', tcp: 'TCP, as UDP did not get through' }[counters?.protocol] ?? '',
    roundTrip: counters?.roundTrip === undefined ? '' : words.milliseconds(counters.roundTrip),
    profile: camera?.profile ? `H.264 ${camera.profile}` : '',
    source,
    dropped: counters ? String(counters.dropped) : '',
    pushes: pushes.filter((p) => p.camera === camera?.name).map(words.push).join('\n'),
    viewers: camera?.viewers === undefined ? '' : String(camera.viewers),
  };
}
