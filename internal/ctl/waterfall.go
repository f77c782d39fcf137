package ctl

import (
	"strings"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/journal"
)

// fall is the last arrival of one blob at a node, as its story tells it.
type fall struct {
	Name  string    `json:"name"` // the digest
	Began time.Time `json:"began"`
	// Ended is when it was whole, or was given up; absent while it arrives.
	Ended *time.Time `json:"ended,omitempty"`
	// Outcome is complete, failed or left; running while it arrives.
	Outcome string    `json:"outcome"`
	Bytes   api.Bytes `json:"bytes"` // by who gave them
}

// fallOf is the last arrival in a story; false if there is none: the blob was
// here, or it is a tag.
func fallOf(e *api.Explanation) (f fall, is bool) {
	for _, one := range e.Entries {
		switch journal.Kind(one.Kind) {
		case journal.Joined:
			f, is = fall{Name: e.Name, Began: one.At, Outcome: "running"}, true
		case journal.Complete, journal.Failed, journal.Left:
			if is {
				f.Ended, f.Outcome = &one.Last, one.Kind
			}
		}
	}
	f.Bytes = fromWhom(e.Given)
	return f, is
}

// fallsOf are the arrivals of an image's blobs.
func fallsOf(items []api.Explanation) (all []fall) {
	for i := range items {
		if f, is := fallOf(&items[i]); is {
			all = append(all, f)
		}
	}
	return all
}

// barCells is how wide the time of a whole pull is.
const barCells = 48

// waterfall shows arrivals over time: a line a blob, from when it was begun to
// when it was whole. now is where what still arrives has come to.
func waterfall(p palette, all []fall, now time.Time) table {
	t := table{title: "WATERFALL", columns: []column{left("  BLOB"), right("AFTER"), right("TOOK"), left("HOW"), right("FROM PEERS"), right("FROM ORIGIN"), left("")}}
	began, ended := span(all, now)
	cell := func(at time.Time) int {
		if !ended.After(began) {
			return 0
		}
		return int(barCells * at.Sub(began) / ended.Sub(began))
	}
	for _, f := range all {
		end := now
		if f.Ended != nil {
			end = *f.Ended
		}
		from := min(cell(f.Began), barCells-1)
		to := max(cell(end), from+1)
		t.rows = append(t.rows, []string{
			"  " + shortDigest(f.Name), f.Began.Sub(began).Round(time.Millisecond).String(), end.Sub(f.Began).Round(time.Millisecond).String(), kindText(p, f.Outcome),
			bytesText(f.Bytes.Peers), bytesText(f.Bytes.Origin), strings.Repeat("·", from) + strings.Repeat("█", to-from) + strings.Repeat("·", barCells-to),
		})
	}
	return t
}

// span is from the first arrival's begin to the last one's end.
func span(all []fall, now time.Time) (began, ended time.Time) {
	for i, f := range all {
		end := now
		if f.Ended != nil {
			end = *f.Ended
		}
		if i == 0 || f.Began.Before(began) {
			began = f.Began
		}
		if end.After(ended) {
			ended = end
		}
	}
	return began, ended
}
