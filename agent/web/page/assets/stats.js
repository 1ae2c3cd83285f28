// What getStats says, once a second, and the last minute of it.

export const KEPT = 60; // seconds

/**
 * The counters of one moment.
 * @typedef {object} Counters
 * @property {number} at ms
 * @property {number} bytes
 * @property {number} packets
 * @property {number} lost
 * @property {number} decoded frames
 * @property {number} width
 * @property {number} height
 * @property {number} dropped frames decoded and not shown
 * @property {number|undefined} roundTrip ms
 * @property {string} protocol "udp" or "tcp", "" before there is a connection
 */

/**
 * What happened in about one second.
 * @typedef {object} Sample
 * @property {number} bitrate bit/s
 * @property {number} fps
 * @property {number} loss share of the packets, 0 to 1
 * @property {number|undefined} latency ms
 */

/**
 * @param {RTCStatsReport} report
 * @returns {Counters}
 */
export function counters(report) {
  const all = [...report.values()];
  const video = all.find((s) => s.type === 'inbound-rtp' && s.kind === 'video') ?? {};
  const transport = all.find((s) => s.type === 'transport') ?? {};
  const pair =
    report.get(transport.selectedCandidatePairId) ??
    all.find((s) => s.type === 'candidate-pair' && (s.selected || (s.nominated && s.state === 'succeeded'))) ??
    {};
  const local = report.get(pair.localCandidateId) ?? {};
  return {
    at: video.timestamp ?? 0,
    bytes: video.bytesReceived ?? 0,
    packets: video.packetsReceived ?? 0,
    lost: video.packetsLost ?? 0,
    decoded: video.framesDecoded ?? 0,
    dropped: video.framesDropped ?? 0,
    width: video.frameWidth ?? 0,
    height: video.frameHeight ?? 0,
    roundTrip: pair.currentRoundTripTime === undefined ? undefined : pair.currentRoundTripTime * 1000,
    protocol: local.protocol ?? '',
  };
}

/**
 * @param {Counters} before
 * @param {Counters} now later, of the same connection
 * @param {number|undefined} latency ms
 * @returns {Sample}
 */
export function sample(before, now, latency) {
  const seconds = Math.max((now.at - before.at) / 1000, 0.001);
  const lost = Math.max(now.lost - before.lost, 0); // late packets make it fall
  const expected = now.packets - before.packets + lost;
  return {
    bitrate: ((now.bytes - before.bytes) * 8) / seconds,
    fps: (now.decoded - before.decoded) / seconds,
    loss: expected > 0 ? lost / expected : 0,
    latency,
  };
}

/** The samples of the last minute. */
export class History {
  /** @type {Sample[]} */
  samples = [];

  /** @param {Sample} s */
  add(s) {
    this.samples.push(s);
    if (this.samples.length > KEPT) this.samples.shift();
  }

  /**
   * Mean of the last n seconds, over the samples that know the value.
   * @param {keyof Sample} key
   * @param {number} n
   * @returns {number|undefined}
   */
  mean(key, n) {
    const known = this.samples.slice(-n).map((s) => s[key]).filter((v) => v !== undefined);
    return known.length ? known.reduce((a, b) => a + b, 0) / known.length : undefined;
  }
}
