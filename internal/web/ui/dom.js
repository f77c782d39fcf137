// What all views of the page are made with. Texts are set as text, never as HTML.
export const $ = (id) => document.getElementById(id);

export const bytes = (n) => {
  if (n < 0) return '?';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return (i > 0 && n < 10 ? n.toFixed(1) : Math.floor(n)) + ' ' + units[i];
};
export const share = (a, b) => b > 0 ? Math.floor(100 * a / b) + ' %' : '–';
export const short = (d) => d.replace('sha256:', '').slice(0, 12);
export const shortPeer = (p) => p.length > 12 ? '…' + p.slice(-12) : p;
// shortNode is a node's name, or where it has none the end of its peer ID.
export const shortNode = (n) => n.startsWith('12D3Koo') ? shortPeer(n) : n;
export const set = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };

// place makes nodes the children of an element. What stays as it is stays there, with what is selected in it; and what
// has the focus has it again, or whoever goes by the keyboard would begin anew each second.
export function place(id, nodes) {
  const at = $(id), had = at.contains(document.activeElement) ? document.activeElement : null, key = had?.closest('[data-key]')?.dataset.key;
  nodes.forEach((n, i) => {
    const old = at.children[i];
    if (!old) at.append(n); else if (!old.isEqualNode(n)) old.replaceWith(n);
  });
  while (at.children.length > nodes.length) at.lastElementChild.remove();
  if (had && !at.contains(document.activeElement)) {
    [...at.querySelectorAll(had.localName)].find((e) => had.hash ? e.hash === had.hash : e.closest('[data-key]')?.dataset.key === key)?.focus({ preventScroll: true });
  }
}

export const cell = (content, kind) => {
  const td = document.createElement('td');
  if (kind) td.className = kind;
  if (content instanceof Node) td.append(content); else td.textContent = content;
  return td;
};
export const row = (...cells) => { const tr = document.createElement('tr'); tr.append(...cells); return tr; };
export const link = (to, text) => { const a = document.createElement('a'); a.href = to; a.textContent = text; return a; };

// bar shows a share, in a bar and in figures.
export function bar(part, whole, of) {
  const b = document.createElement('progress'), td = document.createElement('td');
  b.value = whole > 0 ? part / whole : 0;
  b.setAttribute('aria-label', of);
  td.append(b, ' ' + share(part, whole));
  return td;
}
export const failing = (state) => state === 'failed' || state === 'cancelled' ? 'bad' : '';

// bars draws spans over the whole of something, such as a pull's time; the shortest can still be seen.
export function bars(spans, whole) {
  const space = $('drawing').namespaceURI, svg = document.createElementNS(space, 'svg');
  svg.setAttribute('viewBox', '0 0 1000 10');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true'); // the cells beside it say the same
  for (const [from, to, name] of spans) {
    const r = document.createElementNS(space, 'rect'), x = Math.min(994, 1000 * from / whole);
    r.setAttribute('x', x);
    r.setAttribute('width', Math.max(name === 'waits' ? 0 : 6, Math.min(1000, 1000 * to / whole) - x));
    r.setAttribute('y', name === 'waits' ? 4 : 0);
    r.setAttribute('height', name === 'waits' ? 2 : 10);
    r.setAttribute('class', name);
    svg.append(r);
  }
  return svg;
}
