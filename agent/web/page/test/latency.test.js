import assert from 'node:assert/strict';
import test from 'node:test';
import { CaptureTimes, ClockOffset, displayTime } from '../assets/latency.js';

test('the fastest ping tells the offset', () => {
  const offset = new ClockOffset();
  assert.equal(offset.value, undefined);
  offset.add(0, 100, 5_090); // came back slowly: 40 ms off
  offset.add(200, 202, 5_201); // 1 ms each way
  offset.add(300, 380, 5_301);
  assert.equal(offset.value, 5_000);
});

test('old pings are forgotten, so that drift is followed', () => {
  const offset = new ClockOffset();
  offset.add(0, 2, 5_001);
  for (let i = 1; i <= 16; i++) offset.add(i * 1000, i * 1000 + 4, i * 1000 + 5_012);
  assert.equal(offset.value, 5_010);
});

test('an agent whose clock is set begins anew', () => {
  const offset = new ClockOffset();
  offset.add(0, 2, 5_001);
  offset.add(1_000, 1_040, 1_700_000_001_020);
  assert.equal(offset.value, 1_700_000_000_000);
});

test('capture times by RTP timestamp, over the wrap, both ways', () => {
  const times = new CaptureTimes();
  assert.equal(times.of(0), undefined);
  times.sync(0xffffffff - 89, 1_000);
  assert.equal(times.of(0xffffffff - 89), 1_000);
  assert.equal(times.of(0), 1_001); // 90 ticks later
  assert.equal(times.of(0xffffffff - 89 - 9000), 900);
});

test('of the capture times told, the earliest is right', () => {
  const times = new CaptureTimes();
  times.sync(0, 1_000);
  times.sync(90_000, 2_060); // noted 60 ms late
  assert.equal(times.of(180_000), 3_000);
  for (let s = 3; s <= 7; s++) times.sync(s * 90_000, 1_010 + s * 1000); // the clocks drift
  assert.equal(times.of(8 * 90_000), 9_010);
});

test('a clock that is set begins anew, either way', () => {
  const times = new CaptureTimes();
  times.sync(0, 1_000);
  times.sync(90_000, 7_000);
  assert.equal(times.of(180_000), 8_000);
  times.sync(180_000, 3_000);
  assert.equal(times.of(180_000), 3_000);
});

test('a picture is never seconds on its way to the screen', () => {
  assert.equal(displayTime(1_000, 1_017), 1_017);
  assert.equal(displayTime(1_000, 992), 992);
  assert.equal(displayTime(1_000, 8_566), 1_000);
});
