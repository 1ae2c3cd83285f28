// Notices a frozen picture by the frames decoded. The state of the connection
// says nothing: it stays "connected" in front of a still picture.

const STILL = 2_500; // ms without a new frame that count as frozen, at usual frame rates
const RECONNECT = 8_000; // ms after which a restart of ICE has not helped
const UNDECODABLE = 6_000; // ms in which packets came and no frame; the browser has asked for a keyframe
const SLEPT = 5_000; // ms without a look, of which there is one a second: the machine has slept, or the page
const GIVEN_UP = 13_000; // ms after which the agent gives up whom it doesn't hear
const LOOKS = 2; // after a sleep; the first may still count what waited in the machine
const SLOW = 4; // fps of a camera below which a second without packets means nothing
const FIRST_FRAME = 20_000; // ms that the first keyframe may take, for sources that can't be asked for one

/**
 * What to do about it.
 * @typedef {'fine'|'frozen'|'restart-ice'|'reconnect'} Advice
 */

export class FreezeWatch {
  #decoded = 0;
  #packets = 0;
  #frameAt;
  #packetAt;
  #restarted = false;
  #lookedAt;
  #slept = 0; // ms
  #looks = 0; // left, to see whether the connection has outlived the sleep

  /** @param {number} now ms */
  constructor(now) {
    this.reset(now);
  }

  /**
   * Nothing is expected up to now.
   * @param {number} now ms
   */
  reset(now) {
    this.#frameAt = this.#packetAt = this.#lookedAt = now;
    this.#restarted = false;
    this.#looks = 0;
  }

  /**
   * @param {number} now ms
   * @param {{decoded: number, packets: number}} counters
   * @param {number} fps of the camera, 0 when unknown
   * @returns {Advice} "restart-ice" and "reconnect" come when it is time for them
   */
  observe(now, { decoded, packets }, fps) {
    const pause = now - this.#lookedAt;
    if (pause > SLEPT) {
      this.reset(now);
      this.#slept = pause;
      this.#looks = fps > 0 && fps < SLOW ? 0 : LOOKS;
    } else if (this.#looks > 0 && packets === this.#packets) {
      this.#looks = 0;
      this.#restarted = true;
      return this.#slept > GIVEN_UP ? 'reconnect' : 'restart-ice';
    } else if (this.#looks > 0) {
      this.#looks--;
    }
    this.#lookedAt = now;
    if (packets !== this.#packets) this.#packetAt = now;
    if (decoded !== this.#decoded) {
      this.#frameAt = now;
      this.#restarted = false;
    }
    this.#packets = packets;
    this.#decoded = decoded;

    const limit = Math.max(STILL, fps > 0 ? 4000 / fps : 0);
    const still = now - this.#frameAt;
    const silent = now - this.#packetAt;
    if (still < limit) return 'fine';
    if (silent < limit) {
      return still > (decoded === 0 ? FIRST_FRAME : Math.max(UNDECODABLE, limit)) ? 'reconnect' : 'frozen';
    }
    if (silent > Math.max(RECONNECT, 2 * limit)) return 'reconnect';
    if (this.#restarted) return 'frozen';
    this.#restarted = true;
    return 'restart-ice';
  }
}
