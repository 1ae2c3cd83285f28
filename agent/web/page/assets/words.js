// Every sentence that viewers read. They film, they don't program.

/**
 * What a tile says.
 * @typedef {object} Words
 * @property {'live'|'busy'|'wrong'} tone
 * @property {string} line one line of status
 * @property {string} title over the picture, "" while it plays
 * @property {string} hint what to do, or what happens next
 * @property {''|'retry'|'play'|'sign-in'} action what the viewer can press
 */

/**
 * What there is to say something about.
 * @typedef {object} Scene
 * @property {'unknown'|'answers'|'silent'|'signed-out'} agent
 * @property {import('./status.js').Camera|undefined} camera undefined when the agent has none of that name
 * @property {string} time the agent's clock when it answered last
 * @property {import('./player.js').Player} player
 * @property {number} now ms of performance.now()
 */

/**
 * @param {Scene} scene
 * @returns {Words}
 */
export function describe({ agent, camera, time, player, now }) {
  if (player.moving) return playing(player, camera);
  if (agent === 'signed-out' || (player.phase === 'retrying' && player.cause === 'signed-out')) return signedOut;
  if (player.phase === 'retrying' && player.cause === 'no-h264') return noH264;
  if (agent === 'answers' && !camera) return gone;
  if (agent === 'answers' && camera.state !== 'live') return notLive(camera, time);
  if (player.phase === 'playing') return playing(player, camera); // it has only just begun or stopped
  if (agent === 'silent') return silent(player, now);
  switch (player.phase) {
    case 'retrying':
      return retrying(player, now);
    case 'connecting':
      return busy('Connecting…', '');
    case 'blocked':
      return { ...busy('Ready to play', 'This browser starts a video only when you ask for it.'), action: 'play' };
    case 'frozen':
      return busy('The picture froze', 'The camera is live, but its pictures do not arrive here. Looking for a better way…');
    default:
      return busy('Waiting for a keyframe…', 'The picture starts with the next complete one.');
  }
}

const playing = (player, camera) => ({ tone: 'live', line: live(player, camera), title: '', hint: '', action: '' });
const busy = (title, hint) => ({ tone: 'busy', line: lower(title), title, hint, action: '' });
const wrong = (title, hint, action = '') => ({ tone: 'wrong', line: lower(title), title, hint, action });

const signedOut = wrong('You are signed out', 'Sign in to see the picture again.', 'sign-in');

const noH264 = wrong(
  'This browser has no H.264 for WebRTC',
  'A new Firefox fetches it in its first minutes: leave this page open. Otherwise use Chrome, Edge or Safari.',
  'retry',
);

const gone = wrong('This camera is not set up any more', 'It may have been renamed or removed.');

/** The states of a camera that is not live. */
const states = {
  opening: ['busy', 'Starting the camera…'],
  'no device': ['wrong', 'No camera found'],
  'no cable': ['wrong', 'No cable'],
  'no signal': ['wrong', 'No signal'],
  unsupported: ['wrong', 'This signal cannot be shown'],
  unplugged: ['wrong', 'Camera unplugged'],
  asleep: ['wrong', 'The camera is asleep'],
  failed: ['wrong', 'The camera failed'],
};

/**
 * @param {import('./status.js').Camera} camera
 * @param {string} time the agent's clock
 */
function notLive(camera, time) {
  const [tone, title] = states[camera.state] ?? ['wrong', sentence(camera.state)];
  const back = camera.state === 'unsupported' ? 'Once that is changed it plays by itself.' : 'The picture comes back by itself.';
  // The title has said the state already.
  const reason = camera.reason.startsWith(`${camera.state}: `) ? camera.reason.slice(camera.state.length + 2) : camera.reason;
  const hint = reason ? `${sentence(reason)}. ${back}` : back;
  const lasted = Date.parse(time) - Date.parse(camera.since);
  const line = lasted >= 1000 ? `${lower(title)} for ${duration(lasted)}` : lower(title);
  return { tone, line, title, hint, action: '' };
}

function silent(player, now) {
  const words = wrong('The agent does not answer', 'Is its power on, and are you in its network? This page goes on trying.', 'retry');
  return player.phase === 'retrying' ? { ...words, line: `agent not reachable: trying again ${countdown(player, now)}` } : words;
}

/** Per cause: what it is called, and what to do about it. */
const causes = {
  lost: ['Connection lost', ''],
  unreachable: ['Connection lost', ''],
  'viewer-limit': ['Too many viewers', 'The agent lets no more in. Close the page elsewhere, or wait.'],
  'unknown-camera': ['This camera is not set up any more', ''],
  'no-source': ['No picture yet', ''],
  refused: ['The agent refused', ''],
  'not-understood': ['This browser and the agent do not understand each other', ''],
};

function retrying(player, now) {
  const again = countdown(player, now);
  if (player.cause === 'no-path') {
    const where = player.addresses.length ? `Tried ${list(player.addresses)}, over UDP and TCP. ` : '';
    return {
      ...wrong('No way through to the camera', `${where}A firewall between you and the agent may block that port.`, 'retry'),
      line: `media blocked: trying again ${again}`,
    };
  }
  const [title, advice] = causes[player.cause];
  const said = player.detail ? `${sentence(player.detail)}. ` : '';
  const verb = title === 'Connection lost' ? 'reconnecting' : 'trying again';
  return {
    tone: 'busy',
    line: `${lower(title)}: ${verb} ${again}`,
    title,
    hint: `${advice || said}${advice ? ' ' : ''}${sentence(verb)} ${again}.`,
    action: 'retry',
  };
}

function countdown(player, now) {
  const seconds = Math.ceil((player.retryAt - now) / 1000);
  return seconds > 0 ? `in ${seconds} s` : 'now';
}

/** "live · 1280x720 · 30 fps · 2.4 Mbit/s · 85 ms · no loss · reduced to 2.4 Mbit/s by a viewer" */
function live(player, camera) {
  const { history, counters } = player;
  const parts = ['live'];
  if (counters?.width) parts.push(`${counters.width}x${counters.height}`);
  if (history.samples.length) {
    parts.push(fps(history.mean('fps', 3)), bitrate(history.mean('bitrate', 3)));
    const latency = history.mean('latency', 3);
    if (latency !== undefined) parts.push(milliseconds(latency));
    parts.push(loss(history.mean('loss', 10)));
  }
  if (counters?.protocol === 'tcp') parts.push('over TCP');
  if (camera?.reduced) parts.push(camera.reduced);
  return parts.join(' · ');
}

/** @param {number} perSecond */
export const fps = (perSecond) => `${perSecond < 9.95 ? trim(perSecond.toFixed(1)) : Math.round(perSecond)} fps`;

/** @param {number} bitsPerSecond */
export function bitrate(bitsPerSecond) {
  if (bitsPerSecond >= 999_500) return `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bitsPerSecond / 1000)} kbit/s`;
}

/** @param {number} ms */
export const milliseconds = (ms) => (ms < 999.5 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** @param {number} share 0 to 1 */
export function loss(share) {
  const percent = share * 100;
  if (percent === 0) return 'no loss';
  if (percent < 0.1) return '<0.1 % loss';
  return `${percent < 9.95 ? trim(percent.toFixed(1)) : Math.round(percent)} % loss`;
}

function trim(number) {
  return number.replace(/\.0$/, '');
}

/** A title as a part of the status line: "Camera unplugged" is "camera unplugged". */
function lower(title) {
  return title.replace(/…$/, '').replace(/^\p{Lu}(?=\p{Ll})/u, (c) => c.toLowerCase());
}

/** A reason as a sentence without its full stop. */
function sentence(text) {
  return (text.charAt(0).toUpperCase() + text.slice(1)).replace(/\.$/, '');
}

function list(items) {
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`;
}

/**
 * How long something has lasted: "3 min".
 * @param {number} ms
 */
export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

/**
 * One push in one line.
 * @param {import('./status.js').Push} push
 */
export function push({ destination, state, reason, receivers, bitrate: rate, ice }) {
  const why = reason.replace(`push to ${destination}: `, '');
  const parts = [state];
  if (state === 'sending') parts.push(bitrate(rate));
  if (state === 'sending' && receivers > 1) parts.push(`${receivers} receivers`);
  if (state === 'connecting' && ice && ice.state !== 'new') parts.push(`ICE ${ice.state}`);
  return `${destination}: ${[...parts, why].filter(Boolean).join(' · ')}`;
}
