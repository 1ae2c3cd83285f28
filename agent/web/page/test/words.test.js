import assert from 'node:assert/strict';
import test from 'node:test';
import * as words from '../assets/words.js';
import { History } from '../assets/stats.js';

/** A scene in which all is well. */
function scene({ agent = 'answers', camera = {}, player = {}, now = 0 } = {}) {
  const history = new History();
  history.add({ bitrate: 2_410_000, fps: 29.97, loss: 0, latency: 85.2 });
  return {
    agent,
    time: '2026-03-01T12:00:00.000Z',
    camera: camera && { name: 'hero', state: 'live', reason: '', since: '2026-03-01T11:57:00.000Z', ...camera },
    player: {
      phase: 'playing', moving: false, cause: 'lost', detail: '', retryAt: 0, addresses: [],
      counters: { width: 1280, height: 720, protocol: 'udp' }, history, ...player,
    },
    now,
  };
}

const say = (options) => words.describe(scene(options));

test('the line of a camera that plays', () => {
  assert.deepEqual(say({ player: { moving: true } }), {
    tone: 'live', line: 'live · 1280x720 · 30 fps · 2.4 Mbit/s · 85 ms · no loss', title: '', hint: '', action: '',
  });
});

test('a picture that moves is live, whatever else is said', () => {
  for (const agent of ['unknown', 'silent', 'signed-out']) {
    assert.equal(say({ agent, player: { moving: true } }).tone, 'live');
  }
  assert.equal(say({ camera: { state: 'no signal' }, player: { moving: true } }).tone, 'live');
});

test('the line leaves out what is not known', () => {
  const history = new History();
  assert.equal(say({ player: { moving: true, history, counters: undefined } }).line, 'live');
  history.add({ bitrate: 0, fps: 30, loss: 0, latency: undefined });
  assert.equal(say({ player: { moving: true, history } }).line, 'live · 1280x720 · 30 fps · 0 kbit/s · no loss');
});

test('a bitrate that follows a slow network is said', () => {
  const camera = { reduced: 'reduced to 1.9 Mbit/s by a viewer' };
  assert.match(say({ camera, player: { moving: true } }).line, / · reduced to 1.9 Mbit\/s by a viewer$/);
  assert.match(say({ camera: undefined, player: { moving: true } }).line, / · no loss$/);
});

test('TCP is said', () => {
  const counters = { width: 640, height: 360, protocol: 'tcp' };
  assert.match(say({ player: { moving: true, counters } }).line, / · over TCP$/);
});

test('every state of a camera has words', () => {
  const titles = new Map();
  for (const state of ['opening', 'no device', 'no cable', 'no signal', 'unsupported', 'unplugged', 'asleep', 'failed']) {
    const said = say({ camera: { state, reason: `${state}: the reason` } });
    assert.notEqual(said.title, '');
    assert.match(said.hint, /^The reason\. /);
    assert.match(said.line, / for 3 min$/);
    assert.ok(!titles.has(said.title), `${state} and ${titles.get(said.title)} say the same`);
    titles.set(said.title, state);
  }
  assert.equal(say({ camera: { state: 'on fire' } }).title, 'On fire'); // one of a later agent
});

test('what is wrong without a connection', () => {
  const retrying = (cause, more = {}) => ({ player: { phase: 'retrying', cause, retryAt: 2_400, ...more } });
  assert.equal(say(retrying('lost')).line, 'connection lost: reconnecting in 3 s');
  assert.equal(say({ ...retrying('lost'), now: 2_400 }).line, 'connection lost: reconnecting now');
  assert.equal(say(retrying('viewer-limit')).line, 'too many viewers: trying again in 3 s');
  assert.match(say(retrying('refused', { detail: 'the offer has no video' })).hint, /^The offer has no video\. Trying again in 3 s\.$/);
  assert.match(say(retrying('no-path', { addresses: ['192.0.2.7:8555', '[2001:db8::1]:8555'] })).hint, /^Tried 192\.0\.2\.7:8555 and \[2001:db8::1\]:8555, over UDP and TCP\./);
  assert.equal(say(retrying('no-h264')).title, 'This browser has no H.264 for WebRTC');
  assert.equal(say(retrying('signed-out')).action, 'sign-in');
  assert.equal(say({ agent: 'silent', ...retrying('unreachable') }).line, 'agent not reachable: trying again in 3 s');
  assert.equal(say({ agent: 'signed-out', ...retrying('lost') }).title, 'You are signed out');
  assert.equal(say({ camera: null, ...retrying('unknown-camera') }).title, 'This camera is not set up any more');
});

test('a camera without signal is said before a lost connection', () => {
  assert.equal(say({ camera: { state: 'no cable' }, player: { phase: 'retrying', cause: 'no-source' } }).title, 'No cable');
});

test('on the way to a picture', () => {
  assert.equal(say({ player: { phase: 'connecting' } }).line, 'connecting');
  assert.equal(say({ player: { phase: 'waiting' } }).line, 'waiting for a keyframe');
  assert.equal(say({ player: { phase: 'frozen' } }).line, 'the picture froze');
  assert.equal(say({ player: { phase: 'blocked' } }).action, 'play');
});

test('figures as people read them', () => {
  assert.equal(words.fps(29.97), '30 fps');
  assert.equal(words.fps(9.94), '9.9 fps');
  assert.equal(words.fps(5), '5 fps');
  assert.equal(words.bitrate(999_400), '999 kbit/s');
  assert.equal(words.bitrate(999_600), '1.0 Mbit/s');
  assert.equal(words.milliseconds(999.4), '999 ms');
  assert.equal(words.milliseconds(1234), '1.2 s');
  assert.equal(words.loss(0), 'no loss');
  assert.equal(words.loss(0.0004), '<0.1 % loss');
  assert.equal(words.loss(0.012), '1.2 % loss');
  assert.equal(words.loss(0.5), '50 % loss');
  assert.equal(words.duration(59_400), '59 s');
  assert.equal(words.duration(3_599_000), '59 min');
  assert.equal(words.duration(7_260_000), '2 h 1 min');
  assert.equal(words.duration(90_000_000), '1 d 1 h');
});

test('a push in one line', () => {
  const push = { camera: 'hero', destination: 'https://a.example/whip', state: 'sending', reason: '', receivers: 1, bitrate: 2_410_000, ice: { state: 'connected' } };
  assert.equal(words.push(push), 'https://a.example/whip: sending · 2.4 Mbit/s');
  assert.equal(words.push({ ...push, receivers: 3 }), 'https://a.example/whip: sending · 2.4 Mbit/s · 3 receivers');
  assert.equal(
    words.push({ ...push, state: 'waiting', reason: 'push to https://a.example/whip: nobody listens there' }),
    'https://a.example/whip: waiting · nobody listens there',
  );
  assert.equal(
    words.push({ ...push, state: 'connecting', reason: '', ice: { state: 'checking' } }),
    'https://a.example/whip: connecting · ICE checking',
  );
});
