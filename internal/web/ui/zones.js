// What peers have received, zone by zone: from their own zone, from others, and from
// registries. Lines between zones are what is scarce, and what clouds bill.
import { $, bars, bytes, cell, place, row, set } from './dom.js';

const rowsMost = 32; // zones that are shown

// zoneTable shows zones in a table whose rows have the id; more are the cells that
// stand beside a zone's bar.
export function zoneTable(id, zones, more) {
  const named = zones.filter((z) => z.zone), all = (z) => z.fromZone + z.fromOtherZones + z.fromOrigin;
  const most = Math.max(1, ...named.map(all)); // one scale for all, so that bars compare
  $(id).closest('figure').hidden = named.length === 0;
  place(id, named.slice(0, rowsMost).map((z) => {
    const near = z.fromZone, far = near + z.fromOtherZones;
    const spans = [[0, near, 'have'], [near, far, 'far'], [far, all(z), 'leased']].filter(([from, to]) => to > from);
    return row(cell(z.zone), cell(bars(spans, most)), ...more(z).map((n) => cell(String(n), 'n')),
      cell(bytes(z.fromZone), 'n'), cell(bytes(z.fromOtherZones), 'n'), cell(bytes(z.fromOrigin), 'n'));
  }));
  set(id + 'More', named.length > rowsMost ? '… and ' + (named.length - rowsMost) + ' more zones' : '');
}
