// Capture-to-display latency. The agent tells over the data channel "clock"
// when a picture was captured; the browser tells when it will be on the
// screen; pings tell how the two clocks differ.

const PINGS_KEPT = 16;
const FIRST_PINGS = 5;
const FIRST_PAUSE = 100; // ms
const PAUSE = 2_000; // ms
const CLOCK_RATE = 90; // RTP ticks per millisecond (RFC 6184)
const SYNCS_KEPT = 5;
const CLOCK_SET = 500; // ms, later than the agent is ever late
const FRAMES_KEPT = 120;
const PRESENTED = 100; // ms from the callback to the screen, more than any screen takes
const PLAUSIBLE = 60_000; // ms, beyond this a clock was set meanwhile

/**
 * The agent's clock minus ours, from the ping that was answered fastest: it
 * had the least room to be wrong (as NTP does, RFC 5905 section 10).
 */
export class ClockOffset {
  #pings = [];

  /**
   * @param {number} sent our time in ms when the ping left
   * @param {number} received our time in ms when the answer came
   * @param {number} agent the agent's time in ms, between the two
   */
  add(sent, received, agent) {
    const offset = agent - (sent + received) / 2;
    if (this.#pings.length && Math.abs(offset - this.value) > 1_000 + received - sent) {
      this.#pings = []; // the agent's clock was set
    }
    this.#pings.push({ roundTrip: received - sent, offset });
    if (this.#pings.length > PINGS_KEPT) this.#pings.shift();
  }

  /** In ms, undefined before the first ping. */
  get value() {
    if (!this.#pings.length) return undefined;
    return this.#pings.reduce((best, p) => (p.roundTrip <= best.roundTrip ? p : best)).offset;
  }
}

/**
 * Says when a picture was captured, by its RTP timestamp. A busy agent may
 * note the time of a picture too late, but never too early: of the last few
 * that it told, the earliest is right.
 */
export class CaptureTimes {
  #told = [];

  /**
   * @param {number} rtp timestamp of a picture, 32 bits that wrap around
   * @param {number} captured the agent's time in ms
   */
  sync(rtp, captured) {
    if (captured - this.of(rtp) > CLOCK_SET) this.#told = [];
    this.#told.push({ rtp, captured });
    if (this.#told.length > SYNCS_KEPT) this.#told.shift();
  }

  /**
   * @param {number} rtp
   * @returns {number|undefined} the agent's time in ms
   */
  of(rtp) {
    if (!this.#told.length) return undefined;
    // |0: the nearest way round
    return Math.min(...this.#told.map((t) => t.captured + ((rtp - t.rtp) | 0) / CLOCK_RATE));
  }
}

/**
 * When a picture is on the screen, in ms of performance.now(). After a page was
 * hidden Chromium expects that up to as much later as it was hidden, and shows
 * the picture at once: then the time of the callback is nearer.
 * @param {number} now of requestVideoFrameCallback
 * @param {number} expected its expectedDisplayTime
 */
export const displayTime = (now, expected) => (expected - now > PRESENTED ? now : expected);

/** Measures the latency of one video element and one peer connection. */
export class LatencyMeter {
  #offset = new ClockOffset();
  #times = new CaptureTimes();
  #frames = []; // {at, latency, captured} of the last second
  #video;
  #channel;
  #timer = 0;
  #callback = 0;
  #sent = 0;

  /**
   * @param {HTMLVideoElement} video
   * @param {RTCDataChannel} channel the agent's "clock"
   */
  constructor(video, channel) {
    this.#video = video;
    this.#channel = channel;
    channel.addEventListener('open', () => this.#ping());
    channel.addEventListener('message', ({ data }) => this.#take(data));
    this.#watch();
  }

  close() {
    clearTimeout(this.#timer);
    if (this.#callback) this.#video.cancelVideoFrameCallback(this.#callback);
    this.#channel.close();
  }

  /** Median of the last second in ms, undefined when it can't be known. */
  get value() {
    const since = performance.now() - 1_000;
    const recent = this.#frames.filter((f) => f.at >= since).map((f) => f.latency).sort((a, b) => a - b);
    return recent[recent.length >> 1];
  }

  /** When the picture shown now was captured, by the agent's clock; undefined when unknown. */
  get captured() {
    const captured = this.#frames.at(-1)?.captured;
    return captured === undefined ? undefined : new Date(captured);
  }

  #ping() {
    if (this.#channel.readyState !== 'open') return;
    this.#channel.send(JSON.stringify({ type: 'ping', t: performance.now() }));
    this.#timer = setTimeout(() => this.#ping(), ++this.#sent < FIRST_PINGS ? FIRST_PAUSE : PAUSE);
  }

  #take(data) {
    const message = parse(data);
    if (message.type === 'pong' && isFinite(message.t) && isFinite(message.now)) {
      this.#offset.add(message.t, performance.now(), message.now);
    } else if (message.type === 'sync' && isFinite(message.rtp) && isFinite(message.captured)) {
      this.#times.sync(message.rtp, message.captured);
    }
  }

  #watch() {
    if (!this.#video.requestVideoFrameCallback) return;
    this.#callback = this.#video.requestVideoFrameCallback((now, frame) => {
      this.#shown(now, frame);
      this.#watch();
    });
  }

  #shown(now, { rtpTimestamp, expectedDisplayTime }) {
    const captured = rtpTimestamp === undefined ? undefined : this.#times.of(rtpTimestamp);
    const offset = this.#offset.value;
    if (captured === undefined || offset === undefined) return;
    const latency = displayTime(now, expectedDisplayTime) + offset - captured;
    if (Math.abs(latency) > PLAUSIBLE) return;
    this.#frames.push({ at: performance.now(), latency: Math.max(0, latency), captured });
    if (this.#frames.length > FRAMES_KEPT) this.#frames.shift();
  }
}

function parse(data) {
  try {
    return JSON.parse(data) ?? {};
  } catch {
    return {};
  }
}
