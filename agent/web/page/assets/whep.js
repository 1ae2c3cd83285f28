// A WHEP client: one session at the agent for one RTCPeerConnection
// (draft-ietf-wish-whep; the rules of HTTP are those of RFC 9725).

import { fragment, restarted } from './sdp.js';

const REQUEST_TIMEOUT = 8_000; // ms
const TRICKLE_PAUSE = 50; // ms, in which candidates gather into one PATCH

/**
 * What the agent refused, sorted by what a viewer can do about it.
 * @typedef {'signed-out'|'no-source'|'viewer-limit'|'unknown-camera'|'no-h264'|'unreachable'|'refused'} Refusal
 */
export class WhepError extends Error {
  /**
   * @param {Refusal} kind
   * @param {string} detail what the agent said, in words
   * @param {number} retryAfter seconds, 0 when the agent said nothing
   */
  constructor(kind, detail = '', retryAfter = 0) {
    super(detail || kind);
    this.kind = kind;
    this.detail = detail;
    this.retryAfter = retryAfter;
  }
}

export class WhepSession {
  #endpoint;
  #pc;
  #resource = ''; // the session's own URL
  #etag = '';
  #answer = '';
  #candidates = []; // gathered and not sent yet
  #complete = false; // all are gathered
  #timer = 0;
  #restarting = false; // candidates wait for the new ETag
  #closed = false;

  /**
   * @param {string} endpoint URL of the camera's WHEP endpoint
   * @param {RTCPeerConnection} pc with its transceivers added
   */
  constructor(endpoint, pc) {
    this.#endpoint = endpoint;
    this.#pc = pc;
    pc.addEventListener('icecandidate', ({ candidate }) => this.#gathered(candidate));
  }

  /** What the agent answered, empty before it did. */
  get answer() {
    return this.#answer;
  }

  /**
   * Offers and takes the answer. The offer leaves at once, candidates follow.
   * @returns {Promise<RTCIceServer[]>} the servers the agent recommends
   * @throws {WhepError}
   */
  async open() {
    await this.#pc.setLocalDescription();
    const response = await this.#fetch(this.#endpoint, {
      method: 'POST',
      headers: { 'Content-Type': 'application/sdp', Accept: 'application/sdp' },
      body: this.#pc.localDescription.sdp,
    });
    if (!response.ok) throw await refusal(response);
    this.#resource = new URL(response.headers.get('Location') ?? '', response.url).href;
    this.#etag = response.headers.get('ETag') ?? '';
    this.#answer = await response.text();
    if (this.#closed) {
      this.#delete();
      return [];
    }
    await this.#pc.setRemoteDescription({ type: 'answer', sdp: this.#answer });
    this.#trickle();
    return iceServers(response.headers.get('Link'));
  }

  /**
   * Looks for a new way to the agent and keeps the session.
   * @throws {WhepError} when the agent has no such session any more, or no way for it
   */
  async restartIce() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#restarting = true;
    this.#candidates = [];
    this.#complete = false;
    try {
      const offer = await this.#pc.createOffer({ iceRestart: true });
      await this.#pc.setLocalDescription(offer);
      const response = await this.#patch('*', fragment(offer.sdp, [], false));
      if (response.status !== 200) throw await refusal(response);
      this.#etag = response.headers.get('ETag') ?? this.#etag;
      this.#answer = restarted(this.#answer, await response.text());
      await this.#pc.setRemoteDescription({ type: 'answer', sdp: this.#answer });
    } finally {
      this.#restarting = false;
    }
    this.#trickle();
  }

  /** Ends the session at the agent, also while the page goes away. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    if (this.#resource) this.#delete();
  }

  #delete() {
    // The agent notices by itself when this does not arrive.
    fetch(this.#resource, { method: 'DELETE', keepalive: true }).catch(() => {});
  }

  #gathered(candidate) {
    if (candidate?.candidate) {
      this.#candidates.push({ mid: candidate.sdpMid ?? '0', candidate: candidate.candidate });
    } else {
      this.#complete = true;
    }
    this.#trickle();
  }

  #trickle() {
    const ready = this.#resource && !this.#closed && !this.#restarting && (this.#candidates.length > 0 || this.#complete);
    if (!ready || this.#timer) return;
    this.#timer = setTimeout(async () => {
      this.#timer = 0;
      const body = fragment(this.#pc.localDescription.sdp, this.#candidates, this.#complete);
      this.#candidates = [];
      this.#complete = false; // said once
      // A candidate that gets lost is no loss: the agent learns our address
      // from the first check that reaches it.
      await this.#patch(this.#etag, body).catch(() => {});
    }, TRICKLE_PAUSE);
  }

  #patch(match, body) {
    return this.#fetch(this.#resource, {
      method: 'PATCH',
      headers: { 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': match },
      body,
    });
  }

  async #fetch(url, options) {
    try {
      return await fetch(url, { ...options, signal: AbortSignal.timeout(REQUEST_TIMEOUT) });
    } catch {
      throw new WhepError('unreachable');
    }
  }
}

/** @param {Response} response @returns {Promise<WhepError>} */
async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  const detail = String(problem.detail ?? problem.title ?? '');
  const retryAfter = Number(response.headers.get('Retry-After')) || 0;
  return new WhepError(kindOf(response.status, String(problem.type ?? '')), detail, retryAfter);
}

/** By the type of the agent's problem details. @type {Record<string, Refusal>} */
const kinds = {
  'urn:lenscast:no-h264': 'no-h264',
  'urn:lenscast:not-live': 'no-source',
  'urn:lenscast:not-running': 'unreachable',
  'urn:lenscast:too-many-viewers': 'viewer-limit',
  'urn:lenscast:unknown-camera': 'unknown-camera',
};

/**
 * @param {number} status of the HTTP answer
 * @param {string} type of the problem details
 * @returns {Refusal}
 */
export function kindOf(status, type) {
  return kinds[type] ?? (status === 401 ? 'signed-out' : 'refused');
}

/**
 * STUN and TURN servers of a Link header (RFC 9725 section 4.6):
 * <turn:host>; rel="ice-server"; username="u"; credential="c"
 * @param {?string} header
 * @returns {RTCIceServer[]}
 */
export function iceServers(header) {
  const servers = [];
  for (const [, url, parameters] of (header ?? '').matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+=(?:"[^"]*"|[^",;]*))*)/g)) {
    const value = (name) => parameters.match(new RegExp(`;\\s*${name}=(?:"([^"]*)"|([^",;]*))`))?.slice(1).find((v) => v !== undefined);
    if (value('rel') !== 'ice-server') continue;
    const server = { urls: url };
    if (value('username')) Object.assign(server, { username: value('username'), credential: value('credential') ?? '' });
    servers.push(server);
  }
  return servers;
}
