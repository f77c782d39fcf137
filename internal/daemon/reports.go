package daemon

import (
	"time"

	"github.com/p2pd/p2pd/internal/ledger"
)

// newReporter makes what tells schedulers, for people, what happens on this node.
// It comes first: other parts are made with it.
func (n *Node) newReporter() {
	n.reports = ledger.NewReporter(ledger.ReporterConfig{
		Send: func(r ledger.Report) bool { return n.client.Report(r) },
		Due:  func(now time.Time) { n.pulls.Sweep(now) },
	})
	n.journal.Listeners = append(n.journal.Listeners, n.reports)
}
