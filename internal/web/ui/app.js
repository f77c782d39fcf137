// The live page. It asks the admin interface of the scheduler that serves it and
// nobody else, changes nothing, and writes what it is told as text, never as HTML.
import { $, bar, bytes, cell, failing, link, place, row, set, share, short, shortPeer } from './dom.js';
import { checkTable, imagePage, imageTable, troubleTables } from './told.js';
import { zoneTable } from './zones.js';

const api = '/api/v1';
const keep = 240;       // samples of the chart
let token = sessionStorage.getItem('token') || '';
let stream = null;      // the AbortController of what is being read
let last = null;        // the snapshot before
let flow = [];          // {peers, origin} in bytes a second
let peersNext = '';
let shownOf = '';       // the view of what nodes told, and how much that was

async function ask(path, signal) {
  const answer = await fetch(api + path, { signal, cache: 'no-store', headers: token ? { Authorization: 'Bearer ' + token } : {} });
  if (answer.status === 401) { login(token ? 'That is not the token.' : ''); throw new Error('no token'); }
  if (!answer.ok) {
    const e = await answer.json().catch(() => ({}));
    throw new Error(e.message || answer.statusText);
  }
  return answer;
}

function login(why) {
  token = '';
  sessionStorage.removeItem('token');
  for (const s of document.querySelectorAll('main > section')) s.hidden = true;
  $('login').hidden = false;
  $('refused').textContent = why;
  connected('waiting for the token');
  $('token').focus();
}

$('login').addEventListener('submit', (e) => {
  e.preventDefault();
  token = $('token').value.trim();
  $('token').value = '';
  sessionStorage.setItem('token', token);
  $('login').hidden = true;
  route();
});

// connected says how the page is. Screen readers read it out, so that what changes
// with every snapshot stands beside it.
function connected(text, lost) {
  set('state', text);
  set('at', '');
  $('link').classList.toggle('lost', !!lost);
}

// page is which one is shown: '', 'images', 'image/DIGEST', 'trouble', 'checks',
// 'peers', 'preheats', 'preheat/JOB', or the digest of a swarm.
const page = () => {
  const h = location.hash.slice(2);
  return h.startsWith('swarm/') ? h.slice(6) : h;
};

function route(e) {
  const at = page();
  $('swarmList').hidden = at !== '';
  $('swarmPage').hidden = !at.startsWith('sha256:');
  $('peerPage').hidden = at !== 'peers';
  $('jobList').hidden = at !== 'preheats';
  $('jobPage').hidden = !at.startsWith('preheat/');
  $('imageList').hidden = at !== 'images';
  $('imagePage').hidden = !at.startsWith('image/');
  $('troubleList').hidden = at !== 'trouble';
  $('checkList').hidden = at !== 'checks';
  shownOf = '';
  for (const id of ['imageRows', 'waterfalls', 'refusalRows', 'falseRows', 'checkRows']) {
    if ($(id).closest('section').hidden) $(id).replaceChildren(); // what is not looked at takes no room
  }
  $('overview').hidden = false;
  $('home').hidden = at !== '';
  document.body.classList.toggle('elsewhere', at !== ''); // a phone has no room for the overview there
  $('login').hidden = true;
  for (const a of document.querySelectorAll('nav a')) {
    if (a.hash === (location.hash || '#/')) a.setAttribute('aria-current', 'page'); else a.removeAttribute('aria-current');
  }
  // Who went to another view is there with the keyboard, too, and hears of it.
  const title = document.querySelector('main > section:not([hidden]) h2');
  document.title = title.textContent + ' – p2pd';
  if (e) title.focus();
  if (at === 'peers') { $('peerRows').replaceChildren(); peersNext = ''; morePeers(); }
  follow(at.startsWith('sha256:') ? at : '');
}
addEventListener('hashchange', route);
// What is drawn has its colours from the style, which follows the system's, and its
// width from the window.
function redraw() {
  drawFlow();
  if (last && last.swarm && !$('swarmPage').hidden) swarmPage(last.swarm);
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
addEventListener('resize', redraw);

// follow reads snapshots until it is called again, and tries anew when the
// scheduler goes away.
async function follow(swarm) {
  if (stream) stream.abort();
  const mine = stream = new AbortController();
  for (let wait = 500; !mine.signal.aborted; wait = Math.min(2 * wait, 10000)) {
    try {
      const answer = await ask('/events' + (swarm ? '?swarm=' + encodeURIComponent(swarm) : ''), mine.signal);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
        for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
          const data = text.slice(0, end).split('\n').filter((l) => l.startsWith('data: ')).map((l) => l.slice(6)).join('\n');
          if (data && mine === stream) { show(JSON.parse(data)); wait = 500; }
        }
      }
    } catch (e) {
      if (mine.signal.aborted || e.message === 'no token') return;
      connected('lost: ' + e.message, true);
    }
    await new Promise((r) => setTimeout(r, wait));
  }
}

function show(s) {
  if ($('state').textContent !== 'live') connected('live');
  set('at', '· ' + new Date(s.at).toLocaleTimeString());
  overview(s);
  if (!$('swarmList').hidden) swarmTable(s.swarms);
  if (!$('swarmPage').hidden) swarmPage(s.swarm);
  if (!$('jobList').hidden) jobTable(s.preheats || []);
  if (!$('jobPage').hidden) jobPage(page().slice('preheat/'.length));
  told(s.reports.changes);
  last = s;
}

// told shows what nodes have told, and asks anew once there is more of it.
async function told(changes) {
  const at = page(), [path, show] = at === 'images' ? ['/pulls', (l) => imageTable(l.items)]
    : at.startsWith('image/') ? ['/pulls/' + encodeURIComponent(at.slice('image/'.length)), imagePage]
    : at === 'trouble' ? ['/incidents', (l) => troubleTables(l.items)]
    : at === 'checks' ? ['/checks', (l) => checkTable(l.items)] : [];
  if (!path || shownOf === at + changes) return;
  shownOf = at + changes;
  try {
    const answer = await (await ask(path)).json();
    if (page() === at) show(answer);
  } catch (e) {
    if (e.message === 'no token' || page() !== at) return;
    if (at.startsWith('image/')) { set('imageText', e.message); $('waterfalls').replaceChildren(); }
  }
}

function overview(s) {
  const t = s.status;
  set('peers', String(t.peers));
  const r = s.reports;
  set('pulls', String(r.pulls));
  set('failedPulls', r.pulls ? r.failedPulls + ' failed, of ' + r.images + (r.images === 1 ? ' image' : ' images') : 'since yesterday');
  set('refusals', String(r.refusals));
  set('verify', r.verifyFailures ? r.verifyFailures + (r.verifyFailures === 1 ? ' time' : ' times') + ' bytes were false' : 'no bytes were false');
  set('failedChecks', String(r.failedChecks));
  set('checks', r.checks ? 'of ' + r.checks : 'none was made');
  $('failedChecks').classList.toggle('bad', r.failedChecks > 0);
  set('bans', t.bans ? t.bans + ' banned' : 'none banned');
  set('active', String(t.activeSwarms));
  set('swarms', 'of ' + t.swarms + ', ' + t.members + ' memberships');
  set('leases', String(t.leases));
  set('leasesEnded', t.leasesDone + ' done, ' + (t.leasesFailed + t.leasesExpired) + ' failed');
  set('falsehoods', t.blames.false ? t.blames.false + ' times' : 'none');
  $('falsehoods').classList.toggle('bad', t.blames.false > 0);
  set('blames', t.blames.false ? 'never kept or passed on; the Peers page says whose' : t.blames.unreachable + ' times unreachable, ' + t.blames.slow + ' slow');
  set('saved', share(t.bytes.peers, t.bytes.peers + t.bytes.origin));
  set('bytes', bytes(t.bytes.peers) + ' from peers, ' + bytes(t.bytes.origin) + ' from registries');
  if (last) {
    const took = (new Date(s.at) - new Date(last.at)) / 1000;
    if (took > 0) {
      const rate = { peers: Math.max(0, t.bytes.peers - last.status.bytes.peers) / took, origin: Math.max(0, t.bytes.origin - last.status.bytes.origin) / took };
      flow.push(rate);
      flow = flow.slice(-keep);
      set('now', bytes(rate.peers) + '/s from peers, ' + bytes(rate.origin) + '/s from registries');
    }
  }
  drawFlow();
  const lines = t.registries.map((r) => {
    const p = document.createElement('p');
    p.textContent = r.host + ': ' + r.leases + (r.leases === 1 ? ' read now, ' : ' reads now, ') + bytes(r.bytes) + ' so far' + (r.awayUntil ? ', asked to be left alone until ' + new Date(r.awayUntil).toLocaleTimeString() : '');
    if (r.awayUntil) p.className = 'bad';
    return p;
  });
  place('registries', lines.slice(0, 8));
  if (!$('home').hidden) zoneTable('zoneRows', t.zones, (z) => [z.peers]);
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

// sized makes a canvas as sharp as the screen is.
function sized(canvas, height) {
  const ratio = devicePixelRatio || 1, width = canvas.clientWidth || 600;
  const w = Math.round(width * ratio), h = Math.round(height * ratio);
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; canvas.style.height = height + 'px'; }
  const c = canvas.getContext('2d');
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, width, height);
  return { c, width, height };
}

function drawFlow() {
  const { c, width, height } = sized($('flow'), 120);
  const most = Math.max(1, ...flow.map((f) => f.peers + f.origin));
  const x = (i) => width * (i + keep - flow.length) / (keep - 1), y = (v) => height - 4 - (height - 8) * v / most;
  const area = (above, below, fill) => {
    c.beginPath();
    flow.forEach((f, i) => c.lineTo(x(i), y(above(f))));
    for (let i = flow.length - 1; i >= 0; i--) c.lineTo(x(i), y(below(flow[i])));
    c.fillStyle = fill;
    c.fill();
  };
  area((f) => f.origin, () => 0, colour('--leased'));
  area((f) => f.origin + f.peers, (f) => f.origin, colour('--have'));
  c.fillStyle = colour('--quiet');
  c.font = '12px system-ui, sans-serif';
  c.fillText(most > 1 ? 'at most ' + bytes(most) + '/s in ' + Math.ceil(flow.length / 60) + ' min' : 'nothing has moved since this page was opened', 8, 16);
}

function swarmTable(swarms) {
  $('noSwarms').hidden = swarms.length > 0;
  place('swarmRows', swarms.map((w) => {
    const bar = document.createElement('progress');
    bar.value = w.progress;
    bar.setAttribute('aria-label', 'pieces that members have');
    const done = cell(bar);
    done.append(' ' + share(w.progress, 1));
    return row(cell(link('#/swarm/' + w.digest, short(w.digest))), cell(bytes(w.size), 'n'), cell(String(w.members), 'n'), cell(String(w.seeds), 'n'), done,
      cell(String(w.leases), 'n'), cell(bytes(w.bytes.peers), 'n'), cell(bytes(w.bytes.origin), 'n'), cell(w.size > 0 ? (w.bytes.origin / w.size).toFixed(2) : '–', 'n'));
  }));
}

// runs calls each for the half-open runs of "0-15,20".
function runs(text, each) {
  if (!text) return;
  for (const part of text.split(',')) {
    const [first, end] = part.split('-');
    each(Number(first), Number(end === undefined ? first : end) + 1);
  }
}

function swarmPage(w) {
  if (!w) { set('swarmText', 'No connected peer holds or wants this blob.'); $('memberRows').replaceChildren(); zoneTable('flowRows', [], () => []); return; }
  set('swarmTitle', w.digest);
  set('swarmText', bytes(w.size) + ' in ' + w.pieces + ' pieces. ' + w.members + ' members, ' + w.seeds + ' have all; ' + bytes(w.bytes.peers) +
    ' came from peers and ' + bytes(w.bytes.origin) + ' from the registry' + (w.size > 0 ? ' (' + (w.bytes.origin / w.size).toFixed(2) + ' copies).' : '.'));
  const members = [...w.memberItems].sort((a, b) => (a.zone || '').localeCompare(b.zone || '') || b.have - a.have || a.peer.localeCompare(b.peer));
  drawHeat(w, members);
  zoneTable('flowRows', w.zones, (z) => [z.members, z.seeds, z.gateways]);
  place('memberRows', members.slice(0, 200).map((m) => {
    const state = m.doubted ? 'doubted' : m.stalled ? 'stalled' : m.seed ? 'has all' : 'pulling';
    return row(cell(shortPeer(m.peer)), cell(m.node || '–'), cell(m.zone || '–'), cell(state + (m.gateway ? ', gateway' : ''), m.doubted || m.stalled ? 'bad' : ''), cell(m.have + '/' + m.pieces, 'n'),
      cell(bytes(m.bytes.peers), 'n'), cell(bytes(m.bytes.origin), 'n'), cell(bytes(m.sent), 'n'));
  }));
  set('moreMembers', w.next ? '… and ' + (w.members - members.length) + ' more members; p2pctl swarm show lists all.' : '');
}

// drawHeat draws a line a peer, and of each its pieces; as many as fit a pixel
// are one.
function drawHeat(w, members) {
  const high = Math.max(2, Math.min(14, Math.floor(600 / Math.max(1, members.length))));
  const { c, width } = sized($('heat'), Math.max(high * members.length, 20));
  const n = Math.max(1, w.pieces), cells = Math.max(1, Math.min(n, Math.floor(width)));
  const leased = new Uint8Array(n);
  runs(w.leasedRanges, (a, b) => leased.fill(1, a, b));
  for (const m of members) runs(m.ranges, (a, b) => leased.fill(0, a, b)); // read already, and on its way to others
  const fill = { have: colour('--have'), part: colour('--part'), leased: colour('--leased'), missing: colour('--missing') };
  members.forEach((m, y) => {
    const has = new Uint8Array(n);
    runs(m.ranges, (a, b) => has.fill(1, a, b));
    for (let i = 0; i < cells; i++) {
      const from = Math.floor(i * n / cells), end = Math.max(from + 1, Math.floor((i + 1) * n / cells));
      let have = 0, read = 0;
      for (let k = from; k < end; k++) { have += has[k]; read += leased[k]; }
      c.fillStyle = have === end - from ? fill.have : have > 0 ? fill.part : read > 0 ? fill.leased : fill.missing;
      const x = width * i / cells;
      c.fillRect(x, y * high, width * (i + 1) / cells - x - (width / cells > 4 ? 1 : 0), high - (high > 4 ? 1 : 0));
    }
  });
  $('heat').setAttribute('aria-label', 'Peers by pieces: ' + members.length + ' peers, ' + w.pieces + ' pieces, ' + share(w.progress, 1) + ' are there');
}

function jobTable(jobs) {
  $('noJobs').hidden = jobs.length > 0;
  place('jobRows', jobs.map((j) => row(cell(link('#/preheat/' + j.id, String(j.id))), cell(j.image), cell(j.state, failing(j.state)),
    cell(String(j.nodes), 'n'), cell(String(j.done), 'n'), cell(String(j.failed), 'n'), bar(j.bytes, j.ofBytes, 'bytes where they should be'), cell(new Date(j.created).toLocaleTimeString()))));
}

// jobPage asks for the nodes of a job, the ones that are behind first.
async function jobPage(id) {
  let j;
  try {
    j = await (await ask('/preheats/' + encodeURIComponent(id))).json();
  } catch (e) {
    if (e.message !== 'no token') { set('jobText', e.message); $('nodeRows').replaceChildren(); }
    return;
  }
  if (page() !== 'preheat/' + id) return;
  set('jobTitle', j.image);
  set('jobText', 'Job ' + j.id + ', ' + j.state + ': ' + j.done + ' of ' + j.nodes + ' nodes have all of ' + (j.digest || 'it') + ', ' + j.failed + ' failed; ' + bytes(j.bytes) + ' of ' + bytes(j.ofBytes) + ' are there.');
  set('jobWhy', j.error || '');
  const rank = { failed: 0, waiting: 1, fetching: 2, done: 3 };
  const nodes = (j.nodeItems || []).sort((a, b) => rank[a.state] - rank[b.state] || a.bytes - b.bytes || a.peer.localeCompare(b.peer));
  place('nodeRows', nodes.slice(0, 200).map((n) => row(cell(n.node || shortPeer(n.peer)), cell(n.zone || '–'), cell(n.state, failing(n.state)),
    cell(n.blobs + '/' + n.ofBlobs, 'n'), bar(n.bytes, n.ofBytes, 'bytes that are there'), cell(n.error || '', 'bad'))));
  set('moreNodes', nodes.length > 200 ? '… and ' + (nodes.length - 200) + ' more nodes; p2pctl preheat show lists all.' : '');
}

async function morePeers() {
  try {
    const list = await (await ask('/peers?limit=100' + (peersNext ? '&after=' + encodeURIComponent(peersNext) : ''))).json();
    for (const p of list.items) {
      $('peerRows').append(row(cell(p.id), cell(p.node || '–'), cell(p.ban ? 'banned: ' + p.ban.reason : p.suspect ? 'suspect: ' + p.suspect.accusers + ' got false bytes' : p.state, p.state === 'ok' ? '' : 'bad'), cell(p.bulk || '–'), cell(p.zone || '–'),
        cell(String(p.swarms), 'n'), cell(String(p.missing), 'n'), cell(bytes(p.bytes.peers), 'n'), cell(bytes(p.bytes.origin), 'n'), cell(bytes(p.sent), 'n')));
    }
    peersNext = list.next || '';
    $('morePeers').hidden = !peersNext;
  } catch (e) {
    if (e.message !== 'no token') connected('lost: ' + e.message, true);
  }
}
$('morePeers').addEventListener('click', morePeers);

route();
