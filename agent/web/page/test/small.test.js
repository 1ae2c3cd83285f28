import assert from 'node:assert/strict';
import test from 'node:test';
import { Backoff } from '../assets/backoff.js';
import { runs } from '../assets/graph.js';
import { columns } from '../assets/grid.js';
import { fileName } from '../assets/snapshot.js';
import { counters, History, KEPT, sample } from '../assets/stats.js';
import { iceServers, kindOf } from '../assets/whep.js';

test('delays double up to the cap and begin anew', () => {
  const b = new Backoff({ first: 500, cap: 3_000, random: () => 0.5 });
  assert.deepEqual([b.next(), b.next(), b.next(), b.next(), b.next()], [500, 1000, 2000, 3000, 3000]);
  b.reset();
  assert.equal(b.next(), 500);
});

test('delays differ by up to a quarter', () => {
  assert.equal(new Backoff({ first: 1000, random: () => 0 }).next(), 750);
  assert.equal(new Backoff({ first: 1000, random: () => 1 }).next(), 1250);
});

test('graphs break where nothing is known', () => {
  assert.deepEqual(runs([undefined, 1, 2, undefined, 3]), [[1, 2], [4]]);
  assert.deepEqual(runs([]), []);
});

test('columns of a grid', () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 9, 10].map(columns), [1, 1, 2, 2, 2, 3, 3, 4]);
});

test('names of snapshots', () => {
  const time = new Date(2026, 2, 1, 9, 5, 7, 42);
  assert.equal(fileName('hero', time), 'hero 2026-03-01 09.05.07.042.png');
  assert.equal(fileName('../Bühne links/', time), 'Bühne-links 2026-03-01 09.05.07.042.png');
  assert.equal(fileName('///', time), 'camera 2026-03-01 09.05.07.042.png');
});

test('a second between two readings', () => {
  const before = { at: 1000, bytes: 0, packets: 0, lost: 0, decoded: 0 };
  const now = { at: 2000, bytes: 250_000, packets: 99, lost: 1, decoded: 30 };
  assert.deepEqual(sample(before, now, 85), { bitrate: 2_000_000, fps: 30, loss: 0.01, latency: 85 });
  assert.equal(sample(now, { ...now, at: 3000, lost: 0 }, undefined).loss, 0); // a late packet
});

test('a minute is kept', () => {
  const h = new History();
  for (let i = 0; i < 100; i++) h.add({ bitrate: i, fps: 0, loss: 0, latency: i % 2 ? i : undefined });
  assert.equal(h.samples.length, KEPT);
  assert.equal(h.mean('bitrate', 2), 98.5);
  assert.equal(h.mean('latency', 2), 99);
  assert.equal(new History().mean('fps', 3), undefined);
});

test('counters, before and after there is a connection', () => {
  assert.equal(counters(new Map()).at, 0);
  const report = new Map(
    [
      { id: 'v', type: 'inbound-rtp', kind: 'video', timestamp: 5, bytesReceived: 1, packetsReceived: 2, packetsLost: 3, framesDecoded: 4, framesDropped: 6, frameWidth: 7, frameHeight: 8 },
      { id: 't', type: 'transport', selectedCandidatePairId: 'p' },
      { id: 'p', type: 'candidate-pair', localCandidateId: 'l', currentRoundTripTime: 0.02 },
      { id: 'l', type: 'local-candidate', protocol: 'tcp' },
    ].map((s) => [s.id, s]),
  );
  assert.deepEqual(counters(report), { at: 5, bytes: 1, packets: 2, lost: 3, decoded: 4, dropped: 6, width: 7, height: 8, roundTrip: 20, protocol: 'tcp' });
});

test('what the agent refused', () => {
  assert.equal(kindOf(401, ''), 'signed-out');
  assert.equal(kindOf(404, 'urn:lenscast:unknown-camera'), 'unknown-camera');
  assert.equal(kindOf(409, 'urn:lenscast:not-live'), 'no-source');
  assert.equal(kindOf(503, 'urn:lenscast:too-many-viewers'), 'viewer-limit');
  assert.equal(kindOf(503, 'urn:lenscast:not-running'), 'unreachable');
  assert.equal(kindOf(422, 'urn:lenscast:no-h264'), 'no-h264');
  assert.equal(kindOf(429, ''), 'refused');
});

test('STUN and TURN servers of a Link header', () => {
  const header =
    '<stun:stun.example.net>; rel="ice-server", ' +
    '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="u,1"; credential="p;2"; credential-type="password", ' +
    '<https://example.net>; rel="help"';
  assert.deepEqual(iceServers(header), [
    { urls: 'stun:stun.example.net' },
    { urls: 'turn:turn.example.net?transport=udp', username: 'u,1', credential: 'p;2' },
  ]);
  assert.deepEqual(iceServers(null), []);
});
