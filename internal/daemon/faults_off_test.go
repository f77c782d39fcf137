//go:build !p2pd_faults

package daemon

import (
	"testing"

	"github.com/p2pd/p2pd/pkg/peer"
)

// A normal build cannot be made to misbehave.
func TestNoFaults(t *testing.T) {
	t.Setenv("P2PD_FAULT_CORRUPT_UPLOADS", "1")
	h := &peer.Peer{}
	if faulty(h) != peer.Handler(h) {
		t.Error("the handler is wrapped")
	}
	t.Setenv("P2PD_FAULT_MISREAD", t.TempDir())
	if misreading(nil) != nil {
		t.Error("the source is wrapped")
	}
}
