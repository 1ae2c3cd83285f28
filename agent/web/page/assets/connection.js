// One try to play one camera: a peer connection, its WHEP session and its clock.

import { addresses } from './sdp.js';
import { counters } from './stats.js';
import { LatencyMeter } from './latency.js';
import { WhepSession } from './whep.js';

const CAPTURE_TIME = 'http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time';

/**
 * Whether this browser can receive H.264 at all. Firefox can't before it has
 * fetched its decoder, some minutes after it was first started.
 */
export function playsH264() {
  if (!globalThis.RTCPeerConnection) return false;
  const capabilities = globalThis.RTCRtpReceiver?.getCapabilities?.('video');
  return !capabilities || capabilities.codecs.some(isH264);
}

const isH264 = (codec) => codec.mimeType.toLowerCase() === 'video/h264';

/**
 * Events: "track" when the picture's track is on the video element, "state"
 * when the state of the connection changes, "ended" when the agent has ended
 * the session.
 */
export class Connection extends EventTarget {
  #pc;
  #session;
  #meter;
  #closed = false;

  /** Whether it has ever been connected. */
  wasConnected = false;

  /**
   * @param {HTMLVideoElement} video
   * @param {string} endpoint WHEP URL
   * @param {RTCIceServer[]} iceServers
   */
  constructor(video, endpoint, iceServers) {
    super();
    this.#pc = new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle' });
    this.#session = new WhepSession(endpoint, this.#pc);
    this.#receiveVideo(video);
    const clock = this.#pc.createDataChannel('clock');
    this.#meter = new LatencyMeter(video, clock);
    clock.addEventListener('close', () => this.#emit('ended'));
    this.#pc.addEventListener('connectionstatechange', () => {
      this.wasConnected ||= this.state === 'connected';
      this.#emit('state');
    });
  }

  #receiveVideo(video) {
    const transceiver = this.#pc.addTransceiver('video', { direction: 'recvonly' });
    preferH264(transceiver);
    askForCaptureTime(transceiver);
    this.#pc.addEventListener('track', ({ track, receiver }) => {
      // Each picture is shown as soon as it is complete.
      if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0;
      else if ('playoutDelayHint' in receiver) receiver.playoutDelayHint = 0;
      video.srcObject = new MediaStream([track]);
      this.#emit('track');
    });
  }

  /**
   * @returns {Promise<RTCIceServer[]>} the STUN and TURN servers that the agent recommends
   * @throws {WhepError}
   */
  async open() {
    const servers = await this.#session.open();
    // Too late for the candidates of now, in time for a restart of ICE.
    if (servers.length && !this.#closed) this.#pc.setConfiguration({ ...this.#pc.getConfiguration(), iceServers: servers });
    return servers;
  }

  /** @throws {WhepError} */
  restartIce() {
    return this.#session.restartIce();
  }

  /** Ends the session, without any event. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#meter.close();
    this.#session.close();
    this.#pc.close();
  }

  get state() {
    return this.#pc.connectionState;
  }

  /** Where the agent said it can be reached. */
  get addresses() {
    return addresses(this.#session.answer);
  }

  /** Capture-to-display latency in ms, undefined when unknown. */
  get latency() {
    return this.#meter.value;
  }

  /** When the picture that is shown was captured, undefined when unknown. */
  get captured() {
    return this.#meter.captured;
  }

  async counters() {
    return counters(await this.#pc.getStats());
  }

  #emit(type) {
    if (!this.#closed) this.dispatchEvent(new Event(type));
  }
}

/** Leaves the other codecs out of the offer: the camera has none of them. */
function preferH264(transceiver) {
  const codecs = globalThis.RTCRtpReceiver?.getCapabilities?.('video')?.codecs ?? [];
  const wanted = codecs.filter((c) => isH264(c) || /\/rtx$/i.test(c.mimeType));
  if (wanted.some(isH264)) transceiver.setCodecPreferences?.(wanted);
}

/** Offers abs-capture-time, which browsers know but don't offer by themselves. */
function askForCaptureTime(transceiver) {
  const extensions = transceiver.getHeaderExtensionsToNegotiate?.();
  const captureTime = extensions?.find((e) => e.uri === CAPTURE_TIME);
  if (!captureTime) return;
  captureTime.direction = 'sendrecv';
  transceiver.setHeaderExtensionsToNegotiate(extensions);
}
