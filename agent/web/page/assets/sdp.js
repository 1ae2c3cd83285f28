// The little of SDP (RFC 8866) that a WHEP client has to read and write itself.

/** @typedef {{mid: string, candidate: string}} Candidate one ICE candidate, "candidate:…" */

const lines = (sdp) => sdp.split(/\r?\n/).filter(Boolean);

/**
 * The ICE credentials of a description, from its first media section that has some.
 * @param {string} sdp
 * @returns {{ufrag: string, pwd: string}}
 */
export function iceCredentials(sdp) {
  const value = (name) => lines(sdp).find((l) => l.startsWith(`a=${name}:`))?.slice(name.length + 3) ?? '';
  return { ufrag: value('ice-ufrag'), pwd: value('ice-pwd') };
}

/**
 * The body of a trickle PATCH (RFC 8840 section 9): our credentials and the
 * candidates, each under the media line it belongs to.
 * @param {string} sdp our local description
 * @param {Candidate[]} candidates
 * @param {boolean} complete whether no more will come
 */
export function fragment(sdp, candidates, complete) {
  const { ufrag, pwd } = iceCredentials(sdp);
  const out = [`a=ice-ufrag:${ufrag}`, `a=ice-pwd:${pwd}`];
  const media = mediaLines(sdp);
  const mids = new Set(candidates.map((c) => c.mid));
  if (mids.size === 0 && media.length > 0) mids.add(media[0].mid);
  for (const mid of mids) {
    out.push(media.find((m) => m.mid === mid)?.line ?? 'm=video 9 UDP/TLS/RTP/SAVPF 0', `a=mid:${mid}`);
    for (const c of candidates) if (c.mid === mid) out.push(`a=${c.candidate}`);
    if (complete) out.push('a=end-of-candidates');
  }
  return out.join('\r\n') + '\r\n';
}

/** @returns {{line: string, mid: string}[]} */
function mediaLines(sdp) {
  const found = [];
  for (const line of lines(sdp)) {
    if (line.startsWith('m=')) found.push({ line, mid: '' });
    else if (line.startsWith('a=mid:') && found.length) found.at(-1).mid = line.slice(6);
  }
  return found;
}

/**
 * The answer as it is after an ICE restart: the server sends only the new
 * credentials and candidates, all else of its answer stays.
 * @param {string} answer the server's answer
 * @param {string} frag the body of its reply to the restart
 */
export function restarted(answer, frag) {
  const { ufrag, pwd } = iceCredentials(frag);
  const isCandidate = (l) => l.startsWith('a=candidate:') || l === 'a=end-of-candidates';
  const candidates = lines(frag).filter(isCandidate);
  const out = [];
  let placed = false; // the candidates go to the first section that is not refused
  const place = () => {
    if (!placed) out.push(...candidates);
    placed = true;
  };
  let accepted = false;
  for (const line of lines(answer)) {
    if (isCandidate(line)) continue;
    if (line.startsWith('m=')) {
      if (accepted) place();
      accepted = line.split(' ')[1] !== '0';
    }
    if (line.startsWith('a=ice-ufrag:')) out.push(`a=ice-ufrag:${ufrag}`);
    else if (line.startsWith('a=ice-pwd:')) out.push(`a=ice-pwd:${pwd}`);
    else out.push(line);
  }
  if (accepted) place();
  return out.join('\r\n') + '\r\n';
}

/**
 * Where the server said it can be reached, for people: "192.0.2.7:8555".
 * @param {string} sdp
 * @returns {string[]}
 */
export function addresses(sdp) {
  const found = new Set();
  for (const line of lines(sdp)) {
    if (!line.startsWith('a=candidate:')) continue;
    const [, , , , host, port] = line.split(' ');
    found.add(host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);
  }
  return [...found];
}
