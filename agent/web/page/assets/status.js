// What the agent says of itself: /api/status, asked once a second.

const PAUSE = 1_000; // ms
const PAUSE_HIDDEN = 5_000; // ms, while nobody looks
const TIMEOUT = 4_000; // ms

/**
 * @typedef {object} Camera a camera as the agent's status has it
 * @property {string} name
 * @property {string} state "opening", "live", "no device", "no cable", "no signal",
 *   "unsupported", "unplugged", "asleep" or "failed"
 * @property {string} reason why, in words
 * @property {string} since RFC 3339
 * @property {string} mode who makes the H.264
 * @property {string} detail of that
 * @property {number} width
 * @property {number} height
 * @property {string} profile
 * @property {number} fps
 * @property {string} [reduced] why the bitrate is lower than it should be, in words
 * @property {number} viewers
 * @property {string} [recording] what its recorder does, undefined without one
 */

/**
 * @typedef {object} Push a [[camera.push]] as the agent's status has it
 * @property {string} camera
 * @property {string} destination
 * @property {string} state "connecting", "listening", "sending", "no picture",
 *   "interrupted" or "waiting"
 * @property {string} reason why it does not work, in words
 * @property {number} receivers
 * @property {number} bitrate
 * @property {{state: string}} [ice] of WHIP
 */

/** Event: "change" after every answer, and when there is none. */
export class StatusFeed extends EventTarget {
  /** @type {'unknown'|'answers'|'silent'|'signed-out'} */
  agent = 'unknown';
  /** @type {Camera[]} as last heard */
  cameras = [];
  /** @type {Push[]} as last heard */
  pushes = [];
  /** What is wrong with the agent, in words. @type {string[]} */
  problems = [];
  version = '';
  /** The agent's clock when it last answered. @type {string} */
  time = '';

  #url;
  #timer = 0;

  /** @param {string} url */
  constructor(url) {
    super();
    this.#url = url;
  }

  start() {
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) this.#ask();
    });
    this.#ask();
  }

  async #ask() {
    clearTimeout(this.#timer);
    const turn = (this.#timer = setTimeout(() => this.#ask(), TIMEOUT + PAUSE));
    this.agent = await this.#fetch();
    this.dispatchEvent(new Event('change'));
    if (turn !== this.#timer) return; // another turn has begun meanwhile
    clearTimeout(turn);
    this.#timer = setTimeout(() => this.#ask(), document.hidden ? PAUSE_HIDDEN : PAUSE);
  }

  async #fetch() {
    try {
      const response = await fetch(this.#url, { signal: AbortSignal.timeout(TIMEOUT), cache: 'no-store' });
      if (response.status === 401) return 'signed-out';
      if (!response.ok) return 'silent';
      const status = await response.json();
      this.cameras = status.cameras ?? [];
      this.pushes = status.pushes ?? [];
      this.problems = status.problems ?? [];
      this.version = status.version ?? '';
      this.time = status.time ?? '';
      return 'answers';
    } catch {
      return 'silent';
    }
  }
}
