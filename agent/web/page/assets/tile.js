// One camera on the page: its picture, what there is to say, and its tools.

import { Player } from './player.js';
import { saveSnapshot } from './snapshot.js';
import { describe } from './words.js';

/** Event: "change" after every change of what is shown. */
export class Tile extends EventTarget {
  element;
  player;
  /** @type {import('./words.js').Words|undefined} */
  words;

  #name;
  #video;
  #parts;
  #status;

  /**
   * @param {string} name of the camera
   * @param {HTMLTemplateElement} template
   * @param {import('./status.js').StatusFeed} status
   */
  constructor(name, template, status) {
    super();
    this.#name = name;
    this.#status = status;
    this.element = template.content.cloneNode(true).querySelector('.tile');
    this.#parts = Object.fromEntries([...this.element.querySelectorAll('[data-part]')].map((e) => [e.dataset.part, e]));
    this.#video = this.#parts.video;
    this.#label();
    this.#listen();
    this.player = new Player(this.#video, `whep/${encodeURIComponent(name)}`);
    this.player.addEventListener('change', () => this.render());
  }

  start() {
    this.player.setCamera(this.camera);
    this.player.start();
  }

  /** Ends the session; the tile is of no use afterwards. */
  remove() {
    this.player.stop();
    this.element.remove();
  }

  /** @returns {import('./status.js').Camera|undefined} */
  get camera() {
    return this.#status.cameras.find((c) => c.name === this.#name);
  }

  get name() {
    return this.#name;
  }

  #label() {
    const { name, open, video } = this.#parts;
    name.textContent = this.#name;
    open.href = `#${encodeURIComponent(this.#name)}`;
    open.setAttribute('aria-label', `Enlarge ${this.#name}`);
    video.setAttribute('aria-label', `Live picture of ${this.#name}`);
    this.element.setAttribute('aria-label', this.#name);
    this.#parts.pip.hidden = !document.pictureInPictureEnabled;
    this.#parts.fullscreen.hidden = !(this.element.requestFullscreen || this.#video.webkitEnterFullscreen);
  }

  #listen() {
    const { snapshot, pip, fullscreen, action } = this.#parts;
    snapshot.addEventListener('click', () => this.snapshot());
    pip.addEventListener('click', () => this.pictureInPicture());
    fullscreen.addEventListener('click', () => this.fullscreen());
    action.addEventListener('click', () => this.#act());
    this.#video.addEventListener('resize', () => {
      if (!this.#video.videoWidth) return;
      this.element.style.setProperty('--ratio', this.#video.videoWidth / this.#video.videoHeight);
    });
  }

  #act() {
    if (this.words?.action === 'sign-in') location.href = 'login';
    else if (this.words?.action === 'play') this.player.play();
    else this.player.retryNow();
  }

  snapshot() {
    if (this.#video.videoWidth) saveSnapshot(this.#video, this.#name, this.player.captured ?? new Date());
  }

  async pictureInPicture() {
    if (document.pictureInPictureElement === this.#video) await document.exitPictureInPicture();
    else if (this.#video.videoWidth && document.pictureInPictureEnabled) await this.#video.requestPictureInPicture();
  }

  async fullscreen() {
    if (document.fullscreenElement) await document.exitFullscreen();
    else if (this.element.requestFullscreen) await this.element.requestFullscreen();
    else this.#video.webkitEnterFullscreen?.(); // iPhone
  }

  render() {
    const { agent, time } = this.#status;
    this.words = describe({ agent, time, camera: this.camera, player: this.player, now: performance.now() });
    const { line, title, hint, action, message } = this.#parts;
    const { words } = this;
    this.element.dataset.tone = words.tone;
    setLine(line, words.line);
    setText(title, words.title);
    setText(hint, words.hint);
    message.hidden = words.title === '';
    action.hidden = words.action === '';
    setText(action, { retry: 'Try now', play: 'Play', 'sign-in': 'Sign in' }[words.action] ?? '');
    this.#parts.snapshot.disabled = this.#parts.pip.disabled = !this.#video.videoWidth;
    this.dispatchEvent(new Event('change'));
  }
}

/** Leaves the element alone when nothing changes: a selection in it stays. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A line that breaks between its parts only. */
function setLine(element, text) {
  if (element.textContent === text) return;
  const spans = text.split(' · ').map((part, i, all) => {
    const span = document.createElement('span');
    span.textContent = i < all.length - 1 ? `${part} ·` : part;
    return [span, ' '];
  });
  element.replaceChildren(...spans.flat().slice(0, -1));
}
