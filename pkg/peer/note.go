package peer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// What is noted in the journal, for people who ask what became of a pull.

func (p *Peer) noteAsked(ref Ref, how string) {
	if p.cfg.Journal == nil {
		return
	}
	of := "without a registry"
	if ref.Source != nil {
		of = "of " + ref.Source.Host()
	}
	p.cfg.Journal.Note(ref.Digest.String(), time.Now(), journal.Asked, of+": "+how)
}

func (d *download) note(k journal.Kind, format string, args ...any) {
	if d.p.cfg.Journal != nil {
		d.p.cfg.Journal.Note(d.ref.Digest.String(), time.Now(), k, fmt.Sprintf(format, args...))
	}
}

func (d *download) noteJoined(m scheduler.Membership) {
	here := "its size is not known"
	if m.Size != scheduler.SizeUnknown {
		here = fmt.Sprintf("%d of %d pieces are here", m.Have.Count(), m.Have.Len())
	}
	if d.schedulerUp {
		d.note(journal.Joined, "the scheduler is told; %s", here)
		return
	}
	d.note(journal.Joined, "no scheduler answers: others are looked for; %s", here)
}

func (d *download) noteIntroduced(dec scheduler.Introduce) {
	names := make([]string, 0, len(dec.Peers))
	for _, p := range dec.Peers {
		names = append(names, tail(p.ID))
	}
	who := "to nobody new"
	if len(names) > 0 {
		who = fmt.Sprintf("to %d: %s", len(names), strings.Join(names, " "))
	}
	d.note(journal.Introduced, "%s (%s)", who, dec.Reason)
}

func (d *download) noteLease(g scheduler.Grant) {
	what := "the whole blob"
	if !g.Lease.Whole {
		what = fmt.Sprintf("pieces %v", g.Lease.Pieces)
	}
	d.note(journal.Lease, "%d: %s (%s)", g.Lease.ID, what, g.Reason)
}

func (d *download) noteOwnRead(run piece.Range, whole bool) {
	why := "nobody sends anything"
	switch {
	case d.alone():
		why = "neighbours are not trusted after a false blob"
	case !d.schedulerUp:
		why = "no scheduler shares the origin out"
	}
	if whole {
		d.note(journal.Lease, "0: the whole blob, on its own account (%s)", why)
		return
	}
	d.note(journal.Lease, "0: pieces %v, on its own account (%s)", run, why)
}

// noteEnd notes how the download ended, and who gave what.
func (d *download) noteEnd(k journal.Kind, text string) {
	d.note(k, "%s", text)
	if d.p.cfg.Journal != nil {
		d.p.cfg.Journal.Settle(d.ref.Digest.String(), d.given())
	}
}

// given is who gave what has arrived so far, those who gave most first.
func (d *download) given() []journal.Given {
	if d.ingest == nil {
		return nil
	}
	by := make(map[string]int64)
	for i := range d.have.All() {
		_, n := d.layout.Bounds(i)
		from := journal.FromOrigin
		if id, ok := d.suppliers[i]; ok {
			from = string(id)
		} else if d.resumed.Has(i) {
			from = journal.FromDisk
		}
		by[from] += n
	}
	all := make([]journal.Given, 0, len(by))
	for from, n := range by {
		all = append(all, journal.Given{From: from, Bytes: n})
	}
	slices.SortFunc(all, func(a, b journal.Given) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.From, b.From))
	})
	return all
}

// tail is the end of a peer's ID, which tells it from others; the beginning is
// the same for many.
func tail(id scheduler.PeerID) string {
	const enough = 8
	return string(id[max(0, len(id)-enough):])
}

func faultWords(f scheduler.Fault) string {
	switch f {
	case scheduler.Slow:
		return "too slow"
	case scheduler.Unreachable:
		return "could not be reached"
	case scheduler.False:
		return "sent false bytes"
	}
	return "does not deliver"
}
