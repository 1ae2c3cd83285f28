// The tiles of all cameras. The address says which one is enlarged: #name.

import { Tile } from './tile.js';

/** Event: "change" when tiles come or go, or another one is enlarged. */
export class Grid extends EventTarget {
  /** @type {Map<string, Tile>} in the order of the agent's status */
  tiles = new Map();

  #element;
  #template;
  #status;

  /**
   * @param {HTMLElement} element
   * @param {HTMLTemplateElement} template of a tile
   * @param {import('./status.js').StatusFeed} status
   */
  constructor(element, template, status) {
    super();
    this.#element = element;
    this.#template = template;
    this.#status = status;
    status.addEventListener('change', () => this.#update());
    addEventListener('hashchange', () => this.#arrange());
  }

  /** The tile that fills the page: the enlarged one, or the only one. */
  get current() {
    if (this.tiles.size === 1) return this.tiles.values().next().value;
    return this.tiles.get(hashName());
  }

  /** Shows all cameras again. */
  back() {
    if (!location.hash) return;
    const last = this.current;
    location.hash = '';
    last?.element.querySelector('a').focus();
  }

  /** Shows the camera at a place, counted from 0. */
  enlarge(index) {
    const name = [...this.tiles.keys()][index];
    if (name !== undefined) location.hash = encodeURIComponent(name);
  }

  #update() {
    if (this.#status.agent === 'answers') this.#follow();
    for (const tile of this.tiles.values()) {
      tile.player.setCamera(this.#status.agent === 'answers' ? tile.camera : undefined);
      tile.render();
    }
  }

  #follow() {
    const names = this.#status.cameras.map((c) => c.name);
    if (names.join('\n') === [...this.tiles.keys()].join('\n')) return;
    const before = this.tiles;
    this.tiles = new Map(names.map((name) => [name, before.get(name) ?? this.#add(name)]));
    for (const [name, tile] of before) if (!this.tiles.has(name)) tile.remove();
    names.forEach((name, i) => {
      const { element } = this.tiles.get(name);
      if (this.#element.children[i] !== element) this.#element.insertBefore(element, this.#element.children[i] ?? null);
    });
    this.#arrange();
  }

  #add(name) {
    const tile = new Tile(name, this.#template, this.#status);
    tile.addEventListener('change', () => this.dispatchEvent(new Event('change')));
    this.#element.append(tile.element);
    tile.start();
    return tile;
  }

  #arrange() {
    const { current } = this;
    this.#element.dataset.view = current ? 'one' : 'all';
    this.#element.style.setProperty('--columns', columns(this.tiles.size));
    for (const tile of this.tiles.values()) tile.element.hidden = Boolean(current) && tile !== current;
    document.title = current ? `${current.name} · lenscast` : 'lenscast';
    this.dispatchEvent(new Event('change'));
  }
}

/** How many columns show n pictures of 16:9 best on a wide screen. */
export const columns = (n) => Math.max(1, Math.ceil(Math.sqrt(n)));

function hashName() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return ''; // half a percent escape
  }
}
