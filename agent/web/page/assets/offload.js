// What people read of recordings that go to a server.

/**
 * @typedef {object} Offload as the agent has it in its status
 * @property {string} state
 * @property {string} reason
 * @property {number} waiting recordings
 * @property {string} recording the ID of the one that is sent
 * @property {number} percent of it
 * @property {number} bitrate
 * @property {number} left_seconds for all of them, 0 when unknown
 * @property {string} yield_reason why it is as fast as it is, or as slow
 */

/**
 * The line about all of them.
 * @param {Offload} offload
 * @param {number} total finished recordings
 * @returns {{tone: 'calm'|'busy'|'wrong', line: string}}
 */
export function summary(offload, total) {
  if (!offload.waiting) return { tone: 'calm', line: total ? 'All are sent' : '' };
  const waits = `${offload.waiting} of ${Math.max(total, offload.waiting)} ${offload.waiting === 1 ? 'waits' : 'wait'}`;
  const parts = [waits];
  if (offload.state === 'sending') {
    parts.push(
      `sending ${offload.recording.split('/').pop()} ${Math.floor(offload.percent)} %`,
      rate(offload.bitrate),
      offload.left_seconds > 0 && `${left(offload.left_seconds)} left`,
      offload.yield_reason,
    );
  } else {
    parts.push(offload.reason);
  }
  const tone = { failed: 'wrong', retrying: 'busy', confirmed: offload.reason ? 'busy' : 'calm' }[offload.state] ?? 'calm';
  return { tone, line: parts.filter(Boolean).join(' · ') };
}

/**
 * What becomes of one recording, and whether somebody can press "retry".
 * @param {{offloaded?: {to: string}, offload_dropped?: boolean, running?: boolean}} recording
 * @param {{state: string, reason: string}|undefined} item of the queue, if it is in there
 * @returns {{text: string, retry: boolean}}
 */
export function fate(recording, item) {
  if (recording.running) return { text: '', retry: false };
  if (recording.offloaded) return { text: `also at ${recording.offloaded.to}`, retry: false };
  if (recording.offload_dropped) return { text: 'not to be sent', retry: true };
  if (!item) return { text: '', retry: false };
  const why = item.reason ? `: ${item.reason}` : '';
  switch (item.state) {
    case 'sending':
      return { text: 'being sent', retry: false };
    case 'failed':
      return { text: `can't be sent${why}`, retry: true };
    case 'retrying':
      return { text: `not sent yet${why}`, retry: true };
    case 'confirmed':
      return { text: `sent${why}`, retry: false };
    default:
      return { text: 'waits to be sent', retry: false };
  }
}

/** @param {number} bits per second */
function rate(bits) {
  return bits < 1e6 ? `${Math.round(bits / 1e3)} kbit/s` : `${(bits / 1e6).toFixed(1)} Mbit/s`;
}

/** @param {number} seconds */
function left(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}
