import assert from 'node:assert/strict';
import test from 'node:test';
import { fate, summary } from '../assets/offload.js';

const idle = {
  state: 'idle', reason: '', waiting: 0, recording: '', percent: 0, bitrate: 0, left_seconds: 0,
  yield_reason: '',
};

test('nothing waits', () => {
  assert.deepEqual(summary(idle, 0), { tone: 'calm', line: '' });
  assert.deepEqual(summary(idle, 5), { tone: 'calm', line: 'All are sent' });
});

test('sending', () => {
  const sending = {
    ...idle, state: 'sending', waiting: 3, recording: 'hero/2026-11-22/hero_1', percent: 42.9, bitrate: 8_100_000, left_seconds: 150,
  };
  assert.equal(summary(sending, 12).line, '3 of 12 wait · sending hero_1 42 % · 8.1 Mbit/s · 3 min left');
  assert.match(summary({ ...sending, left_seconds: 7_200, yield_reason: 'paused: the picture had to shrink' }, 12).line, /2 h left · paused: the picture had to shrink$/);
});

test('not sending', () => {
  assert.deepEqual(summary({ ...idle, state: 'retrying', waiting: 1, reason: 'nas:9000 does not answer' }, 1), {
    tone: 'busy', line: '1 of 1 waits · nas:9000 does not answer',
  });
  assert.equal(summary({ ...idle, state: 'failed', waiting: 1, reason: 'damaged' }, 4).tone, 'wrong');
  assert.equal(summary({ ...idle, state: 'held', waiting: 2, reason: 'wlan0 is not connected' }, 4).line, '2 of 4 wait · wlan0 is not connected');
});

test('what becomes of a recording', () => {
  assert.deepEqual(fate({ offloaded: { to: 'nas:9000' } }, undefined), { text: 'also at nas:9000', retry: false });
  assert.deepEqual(fate({ offload_dropped: true }, undefined), { text: 'not to be sent', retry: true });
  assert.deepEqual(fate({}, { state: 'failed', reason: 'damaged' }), { text: "can't be sent: damaged", retry: true });
  assert.deepEqual(fate({}, { state: 'held', reason: 'at night' }), { text: 'waits to be sent', retry: false });
  assert.deepEqual(fate({ running: true }, undefined), { text: '', retry: false });
  assert.deepEqual(fate({}, undefined), { text: '', retry: false }); // there is no [offload]
});
