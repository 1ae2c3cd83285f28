import assert from 'node:assert/strict';
import test from 'node:test';
import { FreezeWatch } from '../assets/freeze.js';

/** The advice second by second, of counters that f gives for each. */
function watch(seconds, f, fps = 30) {
  const w = new FreezeWatch(0);
  return Array.from({ length: seconds }, (_, i) => w.observe((i + 1) * 1000, f(i), fps));
}

test('frames that come are fine', () => {
  const advice = watch(60, (i) => ({ decoded: 1 + i * 30, packets: 1 + i * 300 }));
  assert.deepEqual(new Set(advice), new Set(['fine']));
});

test('silence: ICE is restarted once, then all begins anew', () => {
  const advice = watch(12, (i) => ({ decoded: Math.min(i, 2) + 1, packets: Math.min(i, 2) + 1 }));
  assert.deepEqual(advice, ['fine', 'fine', 'fine', 'fine', 'fine', 'restart-ice', 'frozen', 'frozen', 'frozen', 'frozen', 'frozen', 'reconnect']);
});

test('after a restart that helped the next silence gets one again', () => {
  const moving = [1, 1, 1, 1, 2, 2, 2, 2, 2];
  const advice = watch(9, (i) => ({ decoded: moving[i], packets: moving[i] }));
  assert.deepEqual(advice.filter((a) => a === 'restart-ice').length, 2);
});

test('packets without pictures: the browser gets time for a keyframe', () => {
  const advice = watch(12, (i) => ({ decoded: 100, packets: i * 300 }));
  assert.equal(advice[2], 'fine'); // the first frames counted at 1 s
  assert.equal(advice[3], 'frozen');
  assert.equal(advice.indexOf('reconnect'), 7);
  assert.ok(!advice.includes('restart-ice'));
});

test('the first keyframe may take long', () => {
  const advice = watch(22, (i) => ({ decoded: 0, packets: 1 + i * 300 }));
  assert.equal(advice.indexOf('reconnect'), 20);
});

test('a slow camera is not frozen', () => {
  const advice = watch(60, (i) => ({ decoded: 1 + Math.floor(i / 5), packets: 1 + Math.floor(i / 5) }), 0.2);
  assert.deepEqual(new Set(advice), new Set(['fine']));
});

test('after a sleep it is soon seen whether the connection has outlived it', () => {
  const wake = (slept, packets, fps = 30) => {
    const w = new FreezeWatch(0);
    w.observe(1000, { decoded: 30, packets: 300 }, fps);
    return packets.map((p, i) => w.observe(1000 + slept + i * 1000, { decoded: p, packets: p }, fps));
  };
  assert.deepEqual(wake(10_000, [400, 700, 1000, 1300]), ['fine', 'fine', 'fine', 'fine']);
  assert.deepEqual(wake(60_000, [400, 400]), ['fine', 'reconnect']);
  assert.deepEqual(wake(60_000, [400, 500, 500]), ['fine', 'fine', 'reconnect']);
  assert.deepEqual(wake(10_000, [400, 400, 400]), ['fine', 'restart-ice', 'fine']);
  assert.deepEqual(wake(60_000, [400, 400], 0.5), ['fine', 'fine']);
});
