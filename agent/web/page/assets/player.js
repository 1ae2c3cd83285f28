// Keeps one camera playing: connects, watches, repairs, and tries again.

import { Backoff } from './backoff.js';
import { Connection, playsH264 } from './connection.js';
import { FreezeWatch } from './freeze.js';
import { History, sample } from './stats.js';
import { WhepError } from './whep.js';

const TICK = 1_000; // ms
const CONNECT_TIMEOUT = 10_000; // ms from the offer to a connection
const DISCONNECT_GRACE = 1_000; // ms in which a connection may come back by itself
const HOPELESS_PAUSE = 30_000; // ms between tries that will hardly work
const STEADY = 10_000; // ms of playing after which the next trouble is a new one

/**
 * - connecting: no connection yet
 * - waiting: connected, and no picture yet
 * - playing: pictures come
 * - frozen: the camera is live, and pictures don't come
 * - blocked: the browser wants a click before it plays
 * - retrying: the next try is at retryAt, because of cause
 *
 * @typedef {'connecting'|'waiting'|'playing'|'frozen'|'blocked'|'retrying'} Phase
 */

/**
 * Why there is no connection.
 * @typedef {import('./whep.js').Refusal|'lost'|'no-path'|'not-understood'} Cause
 */

/** Event: "change" when anything that is shown has changed, at least once a second. */
export class Player extends EventTarget {
  /** @type {Phase} */
  phase = 'connecting';
  /** @type {Cause} of the last trouble */
  cause = 'lost';
  /** What the agent said of the cause, in words. */
  detail = '';
  /** When the next try begins, in ms of performance.now(). */
  retryAt = 0;
  /** Where the agent said it can be reached. @type {string[]} */
  addresses = [];
  /** @type {import('./stats.js').Counters|undefined} */
  counters;
  history = new History();

  #video;
  #endpoint;
  #camera; // as the agent's status has it, undefined when unknown
  #iceServers = [];
  /** @type {Connection|undefined} */
  #connection;
  #freeze = new FreezeWatch(0);
  #backoff = new Backoff();
  #ticker = 0;
  #timer = 0; // for the next try, the end of a grace, the connect timeout
  #playingSince = 0;

  /**
   * @param {HTMLVideoElement} video muted
   * @param {string} endpoint WHEP URL
   */
  constructor(video, endpoint) {
    super();
    this.#video = video;
    this.#endpoint = endpoint;
    video.addEventListener('playing', () => {
      if (this.phase !== 'retrying') this.#playing();
    });
  }

  start() {
    this.#ticker = setInterval(() => this.#tick(), TICK);
    this.#connect();
  }

  stop() {
    clearInterval(this.#ticker);
    this.#disconnect();
  }

  /** Doesn't wait for the time of the next try. */
  retryNow() {
    if (this.phase === 'retrying') this.#connect();
  }

  /** Plays after a click, in browsers that ask for one. */
  play() {
    this.#video.play().catch((error) => {
      if (error.name === 'NotAllowedError') this.#set('blocked');
    });
  }

  /** @param {{state: string, fps: number}|undefined} camera what the agent says of it */
  setCamera(camera) {
    const cameBack = camera?.state === 'live' && this.#camera?.state !== 'live';
    this.#camera = camera;
    if (cameBack) this.retryNow();
  }

  /** Whether new pictures came in the last second. */
  get moving() {
    return this.phase === 'playing' && (this.history.samples.at(-1)?.fps ?? 1) > 0;
  }

  /** Capture-to-display latency in ms, undefined when unknown. */
  get latency() {
    return this.#connection?.latency;
  }

  /** When the picture that is shown was captured, undefined when unknown. */
  get captured() {
    return this.#connection?.captured;
  }

  async #connect() {
    this.#disconnect();
    if (!playsH264()) {
      this.#retry('no-h264', '', HOPELESS_PAUSE);
      return;
    }
    const connection = new Connection(this.#video, this.#endpoint, this.#iceServers);
    this.#connection = connection;
    this.#listen(connection);
    this.#set('connecting');
    try {
      this.#iceServers = await connection.open();
      if (connection !== this.#connection) return;
      this.addresses = connection.addresses;
      this.#after(CONNECT_TIMEOUT, () => {
        if (!connection.wasConnected) this.#retry('no-path');
      });
    } catch (error) {
      if (connection === this.#connection) this.#refused(error);
    }
  }

  #refused(error) {
    if (!(error instanceof WhepError)) {
      this.#retry('not-understood', error.message, HOPELESS_PAUSE);
      return;
    }
    const hopeless = ['no-h264', 'unknown-camera', 'signed-out'].includes(error.kind);
    this.#retry(error.kind, error.detail, hopeless ? HOPELESS_PAUSE : error.retryAfter * 1000);
  }

  #listen(connection) {
    connection.addEventListener('track', () => this.play());
    connection.addEventListener('ended', () => this.#retry('lost'));
    connection.addEventListener('state', () => {
      switch (connection.state) {
        case 'connected':
          clearTimeout(this.#timer);
          this.#freeze.reset(performance.now());
          if (this.phase === 'connecting') this.#set('waiting');
          break;
        case 'disconnected':
          this.#after(DISCONNECT_GRACE, () => this.#restartIce());
          break;
        case 'failed':
          if (connection.wasConnected) this.#restartIce();
          else this.#retry('no-path');
          break;
        case 'closed':
          this.#retry('lost');
      }
    });
  }

  async #restartIce() {
    const connection = this.#connection;
    try {
      this.#after(CONNECT_TIMEOUT, () => this.#retry('lost'));
      await connection.restartIce();
      if (connection === this.#connection && connection.state === 'connected') clearTimeout(this.#timer);
    } catch (error) {
      if (connection === this.#connection) this.#retry(error.kind === 'unreachable' ? 'unreachable' : 'lost');
    }
  }

  /**
   * @param {Cause} cause
   * @param {string} detail
   * @param {number} [least] ms to wait at least
   */
  #retry(cause, detail = '', least = 0) {
    this.#disconnect();
    const pause = Math.max(this.#backoff.next(), least);
    this.cause = cause;
    this.detail = detail;
    this.retryAt = performance.now() + pause;
    this.#after(pause, () => this.#connect());
    this.#set('retrying');
  }

  #disconnect() {
    clearTimeout(this.#timer);
    this.#connection?.close();
    this.#connection = undefined;
    this.counters = undefined;
    this.#playingSince = 0;
  }

  #after(ms, then) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
  }

  #playing() {
    this.#playingSince ||= performance.now();
    this.#set('playing');
  }

  async #tick() {
    const connection = this.#connection;
    const counted = connection && (await connection.counters());
    if (connection !== this.#connection) return;
    if (counted?.at) this.#take(counted);
    this.#change();
  }

  #take(counted) {
    const now = performance.now();
    if (this.counters?.decoded) this.history.add(sample(this.counters, counted, this.latency));
    this.counters = counted;
    if (this.#playingSince && now - this.#playingSince > STEADY) this.#backoff.reset();
    if (this.#connection.state === 'connected') this.#watch(now, counted);
  }

  #watch(now, counted) {
    const cameraIsLive = !this.#camera || this.#camera.state === 'live';
    // Browsers may stop to decode what nobody sees.
    if (!cameraIsLive || document.hidden || this.phase === 'blocked') this.#freeze.reset(now);
    switch (this.#freeze.observe(now, counted, this.#camera?.fps ?? 0)) {
      case 'fine':
        if (this.phase === 'frozen') this.#set('playing');
        break;
      case 'frozen':
        this.#frozen();
        break;
      case 'restart-ice':
        this.#frozen();
        this.#restartIce();
        break;
      case 'reconnect':
        this.#retry('lost');
    }
  }

  #frozen() {
    if (this.phase === 'playing') this.#set('frozen');
  }

  /** @param {Phase} phase */
  #set(phase) {
    this.phase = phase;
    this.#change();
  }

  #change() {
    this.dispatchEvent(new Event('change'));
  }
}
