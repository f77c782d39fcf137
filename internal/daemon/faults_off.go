//go:build !p2pd_faults

package daemon

import "github.com/p2pd/p2pd/pkg/peer"

// faulty is where a test build makes a peer misbehave. Here it does nothing.
func faulty(h peer.Handler) peer.Handler { return h }

// misreading is where a test build makes a node read falsely. Here it does nothing.
func misreading(s peer.Source) peer.Source { return s }
