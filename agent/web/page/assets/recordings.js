// The page that lists the recordings, plays and deletes them, and starts and
// stops the recorders.

import { fate, summary } from './offload.js';

const PAUSE = 5_000; // ms between two looks at the list
const $ = (id) => document.getElementById(id);

/** What is shown, so that only a change draws it again: stills stay, and the focus. */
let shown = '';
let shownRecorders = '';

/** Where the facts of each recording are shown, by its key. */
const factsOf = new Map();

/**
 * @typedef {object} Recording as the agent has it
 * @property {string} id
 * @property {string} camera
 * @property {{wall: string}} start
 * @property {boolean} wall_trusted
 * @property {number} duration_seconds
 * @property {number} size bytes
 * @property {{to: string}|undefined} offloaded
 * @property {boolean|undefined} offload_dropped
 * @property {object|undefined} audio
 * @property {boolean} running
 * @property {boolean} repaired
 */

async function look() {
  await refresh();
  setTimeout(look, PAUSE);
}

async function refresh() {
  try {
    const [list, status] = await Promise.all([ask('api/recordings'), ask('api/status')]);
    const { queue } = status.offload ? await ask('api/offload') : { queue: [] };
    showRecorders(status.cameras ?? []);
    showOffload(status.offload, list.recordings);
    showList(list, new Map(queue.map((item) => [item.id, item])));
  } catch (error) {
    $('summary').textContent = error.message;
  }
}

async function ask(url, method = 'GET') {
  const response = await fetch(url, { method, cache: 'no-store' })
    .catch(() => { throw new Error('lenscast does not answer'); });
  if (response.status === 401) location.replace('login');
  if (!response.ok) {
    const text = await response.text();
    throw new Error(response.headers.get('Content-Type')?.includes('json') ? JSON.parse(text).detail : text);
  }
  return response.status === 204 ? null : response.json();
}

/** @param {{name: string, recording?: string}[]} cameras */
function showRecorders(cameras) {
  const recorders = cameras.filter((c) => c.recording);
  const now = JSON.stringify(recorders.map((c) => [c.name, c.recording]));
  if (now === shownRecorders) return;
  shownRecorders = now;
  const buttons = recorders.map((camera) => {
    const button = document.createElement('button');
    const idle = camera.recording === 'standby';
    button.dataset.state = camera.recording;
    button.textContent = idle ? `Record ${camera.name}` : `${camera.name}: ${camera.recording} – stop`;
    button.onclick = () => act(`api/recorder/${camera.name}/${idle ? 'start' : 'stop'}`, 'POST');
    return button;
  });
  $('recorders').replaceChildren(...buttons);
}

async function act(url, method) {
  try {
    await ask(url, method);
    await refresh();
  } catch (error) {
    $('summary').textContent = error.message;
  }
}

/**
 * @param {import('./offload.js').Offload|undefined} offload
 * @param {Recording[]} recordings
 */
function showOffload(offload, recordings) {
  const { tone, line } = offload ? summary(offload, recordings.filter((r) => !r.running).length) : { tone: 'calm', line: '' };
  $('offload').hidden = !line;
  $('offload').dataset.tone = tone;
  $('offload').textContent = line;
}

/**
 * @param {{recordings: Recording[], archive: {bytes: number, free: number}}} list
 * @param {Map<string, {state: string, reason: string}>} queue what waits to be offloaded
 */
function showList({ recordings, archive }, queue) {
  $('summary').textContent = recordings.length
    ? `${recordings.length === 1 ? '1 recording' : `${recordings.length} recordings`}, ${bytes(archive.bytes)}; ${bytes(archive.free)} of the disk are free`
    : 'There is no recording yet.';
  const fates = new Map(recordings.map((r) => [key(r), fate(r, queue.get(r.id))]));
  const now = JSON.stringify(recordings.map((r) => [key(r), r.running, fates.get(key(r)).retry]));
  if (now !== shown) {
    shown = now;
    draw(recordings, fates);
  }
  for (const r of recordings) factsOf.get(key(r)).textContent = facts(r, fates.get(key(r)));
}

/** @param {Recording} r */
const key = (r) => r.id || r.sequence;

/**
 * @param {Recording[]} recordings
 * @param {Map<string|number, ReturnType<typeof fate>>} fates
 */
function draw(recordings, fates) {
  factsOf.clear();
  const days = Map.groupBy(recordings, (r) => new Date(r.start.wall).toLocaleDateString(undefined, { dateStyle: 'full' }));
  $('days').replaceChildren(...[...days].map(([day, list]) => {
    const section = part('day');
    section.day.textContent = day;
    section.list.append(...list.map((r) => item(r, fates.get(key(r)))));
    return section.root;
  }));
}

/**
 * What is said of a recording in one line.
 * @param {Recording} r
 * @param {ReturnType<typeof fate>} offload
 */
function facts(r, offload) {
  return [
    length(r.duration_seconds),
    bytes(r.size),
    r.audio && 'with sound',
    r.running && 'being recorded',
    r.repaired && 'cut off, repaired',
    offload.text,
  ].filter(Boolean).join(' · ');
}

/**
 * @param {Recording} r
 * @param {ReturnType<typeof fate>} offload
 */
function item(r, offload) {
  const { root, play, still, when, facts: line, download, retry, delete: remove } = part('recording');
  const time = new Date(r.start.wall).toLocaleTimeString();
  when.textContent = `${r.camera} ${r.wall_trusted ? '' : '≈ '}${time}`;
  if (!r.wall_trusted) when.title = 'by a clock that was not set yet';
  factsOf.set(key(r), line);
  if (r.running) {
    play.disabled = true;
    play.setAttribute('aria-label', `${when.textContent} is being recorded`);
    download.parentElement.hidden = true;
    return root;
  }
  const url = `recordings/${r.id}.mp4`;
  play.setAttribute('aria-label', `Play ${when.textContent}`);
  for (const tool of [download, retry, remove]) tool.setAttribute('aria-label', `${tool.textContent}: ${when.textContent}`);
  play.onclick = () => {
    const player = $('player');
    player.hidden = false;
    player.src = url;
    player.play().catch(() => {}); // then its controls do it
    player.scrollIntoView({ block: 'nearest' });
  };
  whenSeen(still, () => { still.src = `${url}?still`; still.preload = 'auto'; });
  download.href = `${url}?file`;
  retry.hidden = !offload.retry;
  retry.onclick = () => act(`api/offload/retry/${r.id}`, 'POST');
  remove.onclick = async () => {
    if (confirm(`Delete the recording of ${when.textContent}?`)) {
      await act(url, 'DELETE');
    }
  };
  return root;
}

/** Fetches a still only when it is scrolled to. */
function whenSeen(element, then) {
  const observer = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    observer.disconnect();
    then();
  });
  observer.observe(element);
}

/** Copies a template and returns its parts by name, and its root. */
function part(template) {
  const root = $(template).content.firstElementChild.cloneNode(true);
  const parts = { root };
  for (const element of root.querySelectorAll('[data-part]')) parts[element.dataset.part] = element;
  return parts;
}

/** @param {number} n */
function bytes(n) {
  for (const unit of ['B', 'kB', 'MB', 'GB']) {
    if (n < 1000) return `${Number(n.toPrecision(3))} ${unit}`;
    n /= 1000;
  }
  return `${n.toPrecision(3)} TB`;
}

/** @param {number} seconds */
function length(seconds) {
  const two = (n) => String(n).padStart(2, '0');
  const s = Math.round(seconds);
  return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

look();
