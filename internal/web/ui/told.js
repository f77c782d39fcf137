// The views of what nodes have told: pulls of images, what went wrong, checks.
import { $, bars, bytes, cell, link, place, row, set, short, shortNode } from './dom.js';

const seconds = (ms) => ms < 1000 ? ms + ' ms' : (ms / 1000).toFixed(ms < 10000 ? 2 : 1) + ' s';
const rowsMost = 200;   // of checks that are shown, those that failed first
const clock = (at) => new Date(at).toLocaleTimeString();
const nodeName = (node, peer) => shortNode(node || peer || '');
const add = (kind, text, name) => { const e = document.createElement(kind); if (text) e.textContent = text; if (name) e.className = name; return e; };

export function imageTable(images) {
  $('noImages').hidden = images.length > 0;
  place('imageRows', images.map((i) => row(cell(link('#/image/' + i.digest, i.image.replace(/@sha256:(.{12}).*/, '@$1'))), cell(String(i.pulls), 'n'), cell(String(i.failed), i.failed ? 'n bad' : 'n'),
    cell(seconds(i.medianMilliseconds), 'n'), cell(seconds(i.slowestMilliseconds), 'n'), cell(shortNode(i.slowestNode)),
    cell(bytes(i.fromPeers), 'n'), cell(bytes(i.fromOrigin), 'n'), cell(bytes(i.fromCache), 'n'), cell(clock(i.last)))));
}

export function imagePage(d) {
  set('imageTitle', d.image);
  set('imageText', d.digest + ': pulled ' + d.pulls + (d.pulls === 1 ? ' time' : ' times') + ', ' + d.complete + ' complete, ' + d.failed + ' failed, ' + d.partial + ' partial. Half of them took ' +
    seconds(d.medianMilliseconds) + ' or less, the slowest ' + seconds(d.slowestMilliseconds) + '. ' + bytes(d.fromPeers) + ' came from peers, ' + bytes(d.fromOrigin) + ' from the registry, and ' + bytes(d.fromCache) + ' were there.');
  const open = new Set([...document.querySelectorAll('#waterfalls details[open]')].map((e) => e.dataset.key));
  const seen = new Set(), all = [];
  for (const [what, some] of [['Slow', d.slowest], ['Lately', d.latest]]) {
    for (const p of some) {
      const key = p.peer + p.began;
      if (seen.has(key)) continue;
      seen.add(key);
      const one = waterfall(what, p);
      one.dataset.key = key;
      one.open = open.size ? open.has(key) : all.length === 0;
      all.push(one);
    }
  }
  place('waterfalls', all);
}

// waterfall is one pull: a line a blob, over the time of the pull.
function waterfall(what, p) {
  const one = add('details'), head = add('summary');
  head.append(what + ': ' + nodeName(p.node, p.peer) + (p.zone ? ' in ' + p.zone : '') + ', ' + seconds(p.milliseconds) + ', ', add('span', p.outcome, p.outcome === 'failed' ? 'bad' : ''), ', ' + clock(p.began));
  const scroll = add('div', '', 'scroll'), table = add('table', '', 'falls'), heads = add('tr'), body = add('tbody'), thead = add('thead');
  scroll.tabIndex = 0;
  scroll.setAttribute('role', 'region');
  scroll.setAttribute('aria-label', 'Waterfall of ' + head.textContent);
  for (const [text, name] of [['Blob'], ['0 to ' + seconds(p.milliseconds), 'time'], ['Size', 'n'], ['Asked', 'n'], ['First byte', 'n'], ['There', 'n'], ['From peers', 'n'], ['From registry', 'n'], ['Was here', 'n']]) {
    const th = add('th', text, name);
    th.scope = 'col';
    heads.append(th);
  }
  thead.append(heads);
  const whole = Math.max(1, p.milliseconds), moment = (ms) => ms === undefined ? 'never' : seconds(ms);
  body.append(row(cell('manifest'), cell(bars([[0, p.manifestMilliseconds, 'manifest']], whole)), cell(''), cell(seconds(0), 'n'), cell(''), cell(seconds(p.manifestMilliseconds), 'n'), cell(''), cell(''), cell('')));
  for (const b of p.blobs) {
    body.append(row(cell(short(b.digest)), cell(bars(parts(b, whole), whole)), cell(bytes(b.size), 'n'), cell(seconds(b.askedMilliseconds), 'n'), cell(moment(b.firstMilliseconds), 'n'),
      cell(moment(b.doneMilliseconds), b.doneMilliseconds === undefined ? 'n bad' : 'n'), cell(bytes(b.fromPeers), 'n'), cell(bytes(b.fromOrigin), 'n'), cell(bytes(b.fromCache), 'n')));
  }
  table.append(thead, body);
  scroll.append(table);
  const more = [p.more ? p.more + ' more blobs' : '', p.held ? 'the client had ' + p.held + (p.held === 1 ? ' blob' : ' blobs') + ' of it already' : ''].filter((t) => t).join('; ');
  one.append(head, scroll);
  if (more) one.append(add('p', more, 'quiet'));
  return one;
}

// parts are a blob's wait, and what came after it by who gave it: how long each
// took is not known, so that they share the time by their bytes.
function parts(b, whole) {
  const end = b.doneMilliseconds === undefined ? whole : b.doneMilliseconds, first = b.firstMilliseconds === undefined ? end : b.firstMilliseconds;
  const all = [[b.askedMilliseconds, first, 'waits']], sum = Math.max(1, b.fromPeers + b.fromOrigin + b.fromCache);
  let at = first;
  for (const [n, name] of [[b.fromCache, 'part'], [b.fromPeers, 'have'], [b.fromOrigin, 'leased']]) {
    if (n > 0) all.push([at, at += (end - first) * n / sum, name]);
  }
  return all;
}

// fill puts rows into a table that a phone shows as a list: each cell knows its heading.
function fill(id, rows) {
  const heads = [...$(id).closest('table').querySelectorAll('th')].map((th) => th.textContent);
  for (const tr of rows) [...tr.cells].forEach((td, i) => { td.dataset.of = heads[i]; });
  place(id, rows);
}

const onNodes = (i) => i.nodes.map(shortNode).join(', ') + (i.moreNodes ? ' and others' : '');

export function troubleTables(incidents) {
  const refusals = incidents.filter((i) => i.kind === 'refusal'), verify = incidents.filter((i) => i.kind === 'verify');
  $('noRefusals').hidden = refusals.length > 0;
  $('noFalse').hidden = verify.length > 0;
  $('refusalTable').hidden = refusals.length === 0;
  $('falseTable').hidden = verify.length === 0;
  const about = (i) => cell(i.about.replace(/sha256:(.{12}).*/, '$1'));
  fill('refusalRows', refusals.map((i) => row(about(i), cell(i.status ? String(i.status) : '–', 'bad'), cell(i.reason, 'text'), cell(i.advice || '', 'text'),
    cell(String(i.times), 'n'), cell(onNodes(i), 'text'), cell(clock(i.last)))));
  fill('falseRows', verify.map((i) => row(about(i), cell(i.reason, 'text'), cell(String(i.times), 'n'), cell(onNodes(i), 'text'), cell(clock(i.last)))));
}

export function checkTable(runs) {
  $('noChecks').hidden = runs.length > 0;
  set('moreChecks', runs.length > rowsMost ? '… and ' + (runs.length - rowsMost) + ' more nodes; p2pctl check ls lists all.' : '');
  fill('checkRows', runs.slice(0, rowsMost).map((c) => {
    const found = add('ul', '', 'findings');
    for (const f of c.findings) {
      const li = add('li');
      li.append(add('strong', f.description, f.result === 'error' ? 'bad' : ''), ': ' + f.error + ' ', add('span', 'See docs/checks.md#' + f.id, 'quiet'));
      found.append(li);
    }
    return row(cell(nodeName(c.node, c.peer)), cell(c.success ? 'well' : 'failed', c.success ? '' : 'bad'), cell(clock(c.at)), cell(c.everySeconds ? seconds(1000 * c.everySeconds) : 'once'),
      cell(seconds(c.milliseconds), 'n'), cell(c.pullMilliseconds ? seconds(c.pullMilliseconds) : '–', 'n'), cell(c.failures + ' of ' + c.runs, 'n'),
      cell(c.findings.length ? found : c.made + ' checks', 'text'));
  }));
}
