// Notices a frozen picture by the frames decoded. The state of the connection
// says nothing: it stays "connected" in front of a still picture.

const STILL = 2_500; // ms without a new frame that count as frozen, at usual frame rates
const RECONNECT = 8_000; // ms after which a restart of ICE has not helped
const UNDECODABLE = 6_000; // ms in which packets came and no frame; the browser has asked for a keyframe
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

  /** @param {number} now ms */
  constructor(now) {
    this.reset(now);
  }

  /**
   * Nothing is expected up to now.
   * @param {number} now ms
   */
  reset(now) {
    this.#frameAt = this.#packetAt = now;
    this.#restarted = false;
  }

  /**
   * @param {number} now ms
   * @param {{decoded: number, packets: number}} counters
   * @param {number} fps of the camera, 0 when unknown
   * @returns {Advice} "restart-ice" and "reconnect" come when it is time for them
   */
  observe(now, { decoded, packets }, fps) {
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
