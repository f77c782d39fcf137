package cluster

import "github.com/hashicorp/memberlist"

// delegate tells the others where peers reach this scheduler. Nothing else
// travels with the gossip.
type delegate struct{ c *Cluster }

var _ memberlist.Delegate = delegate{}

// NodeMeta implements memberlist.Delegate.
func (d delegate) NodeMeta(int) []byte { return []byte(d.c.cfg.Name) }

// NotifyMsg implements memberlist.Delegate.
func (delegate) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (delegate) MergeRemoteState([]byte, bool) {}

// events hears who comes and goes.
type events struct{ c *Cluster }

var _ memberlist.EventDelegate = events{}

// NotifyJoin implements memberlist.EventDelegate.
func (e events) NotifyJoin(n *memberlist.Node) {
	e.c.change(func() {
		if name := string(n.Meta); name != "" && len(name) <= maxName {
			e.c.up[n.Name] = name
		}
	})
}

// NotifyLeave implements memberlist.EventDelegate.
func (e events) NotifyLeave(n *memberlist.Node) { e.c.change(func() { delete(e.c.up, n.Name) }) }

// NotifyUpdate implements memberlist.EventDelegate.
func (e events) NotifyUpdate(n *memberlist.Node) { e.NotifyJoin(n) }

// change changes up and says so.
func (c *Cluster) change(how func()) {
	c.mu.Lock()
	how()
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
}
