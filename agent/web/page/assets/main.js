// Puts the page together.

import { Details } from './details.js';
import { Grid } from './grid.js';
import { StatusFeed } from './status.js';
import { setText } from './tile.js';

const $ = (id) => document.getElementById(id);

const status = new StatusFeed('api/status');
const grid = new Grid($('cameras'), $('tile'), status);
const details = new Details($('details'));

let announced = '';

/** Tells a screen reader what changed, and only that: not every figure. */
function announce() {
  const { current } = grid;
  const tiles = current ? [current] : [...grid.tiles.values()];
  const text = tiles.map(({ name, words }) => words && `${name}: ${words.tone === 'live' ? 'live' : words.title || words.line}`).filter(Boolean).join('. ');
  if (text !== announced) setText($('announcer'), (announced = text));
}

function renderNames() {
  const names = [...grid.tiles.keys()];
  const { current } = grid;
  const nav = $('names');
  nav.hidden = names.length < 2;
  if (nav.hidden) return;
  const wanted = ['', ...names];
  if (nav.dataset.names !== wanted.join('\n')) {
    nav.dataset.names = wanted.join('\n');
    nav.replaceChildren(...wanted.map(link));
  }
  [...nav.children].forEach((a, i) => {
    if (wanted[i] === (current?.name ?? '')) a.setAttribute('aria-current', 'page');
    else a.removeAttribute('aria-current');
  });
}

function link(name) {
  const a = document.createElement('a');
  a.href = `#${encodeURIComponent(name)}`;
  a.textContent = name || 'All';
  return a;
}

function renderDetails() {
  const { current } = grid;
  document.body.classList.toggle('with-details', details.open && Boolean(current));
  $('toggle-details').hidden = !current;
  $('toggle-details').setAttribute('aria-expanded', String(details.open));
  if (current) details.render(current, status.pushes);
}

function toggleDetails(open = !details.open) {
  details.open = open;
  try {
    localStorage.setItem('details', open ? 'open' : 'closed');
  } catch {
    // Not allowed here: then it is not remembered.
  }
  renderDetails();
}

function detailsAtStart() {
  try {
    const remembered = localStorage.getItem('details');
    if (remembered) return remembered === 'open';
  } catch {
    // Not allowed here: nothing is remembered.
  }
  return matchMedia('(max-width: 700px) and (orientation: portrait)').matches; // there is room below the picture
}

function renderAgent() {
  const { agent, cameras, problems, version } = status;
  // What is wrong with a camera that is shown stands on its tile.
  // Of an agent that does not answer nobody knows what is wrong with it now.
  const others = agent === 'answers' ? problems.filter((p) => !cameras.some((c) => p.startsWith(`camera "${c.name}": ${c.state}`))) : [];
  setText($('problems'), others.join('\n'));
  $('problems').hidden = others.length === 0;
  $('recordings').hidden = !cameras.some((c) => c.recording);
  setText($('version'), version);
  const empty = $('empty');
  empty.hidden = grid.tiles.size > 0;
  if (agent === 'silent') setText(empty, 'The agent does not answer. This page goes on trying.');
  else if (agent === 'signed-out') setText(empty, 'You are signed out. Reload the page to sign in.');
  else if (agent === 'answers' && cameras.length === 0) setText(empty, 'No camera is set up yet. Add a [[camera]] table to the configuration.');
}

const keys = {
  Escape: () => grid.back(),
  d: () => grid.current && toggleDetails(),
  f: () => grid.current?.fullscreen(),
  p: () => grid.current?.pictureInPicture(),
  s: () => grid.current?.snapshot(),
};

addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, select, textarea')) return;
  if (event.key === 'Escape' && document.fullscreenElement) return; // the browser leaves it
  if (/^[1-9]$/.test(event.key)) grid.enlarge(Number(event.key) - 1);
  else keys[event.key]?.();
});

function stop() {
  for (const tile of grid.tiles.values()) tile.player.stop();
}

// The agent need not find out by itself that we are gone; after signing out
// it would not listen any more. A page that the browser keeps for "back"
// comes back as it was, and must begin anew.
addEventListener('pagehide', stop);
addEventListener('submit', stop);
addEventListener('pageshow', (event) => {
  if (event.persisted) location.reload();
});
addEventListener('online', () => {
  for (const tile of grid.tiles.values()) tile.player.retryNow();
});

grid.addEventListener('change', () => {
  renderNames();
  renderDetails();
  announce();
});
status.addEventListener('change', renderAgent);
$('toggle-details').addEventListener('click', () => toggleDetails());
$('close-details').addEventListener('click', () => {
  toggleDetails(false);
  $('toggle-details').focus();
});

details.open = detailsAtStart();
status.start();
