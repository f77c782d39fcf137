package cluster

import (
	"slices"

	"github.com/hashicorp/memberlist"
)

// delegate tells the others where peers reach this scheduler, and carries news.
type delegate struct{ c *Cluster }

var _ memberlist.Delegate = delegate{}

// NodeMeta implements memberlist.Delegate.
func (d delegate) NodeMeta(int) []byte { return []byte(d.c.cfg.Name) }

// NotifyMsg implements memberlist.Delegate.
func (d delegate) NotifyMsg(news []byte) { d.heard(slices.Clone(news)) }

func (d delegate) heard(news []byte) {
	if d.c.cfg.Heard != nil && len(news) > 0 {
		d.c.cfg.Heard(news)
	}
}

// GetBroadcasts implements memberlist.Delegate.
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (d delegate) LocalState(join bool) []byte {
	if d.c.cfg.News == nil {
		return nil
	}
	return d.c.cfg.News(join)
}

// MergeRemoteState implements memberlist.Delegate.
func (d delegate) MergeRemoteState(news []byte, _ bool) { d.heard(slices.Clone(news)) }

// events hears who comes and goes.
type events struct{ c *Cluster }

var _ memberlist.EventDelegate = events{}

// NotifyJoin implements memberlist.EventDelegate.
func (e events) NotifyJoin(n *memberlist.Node) {
	e.c.change(func() {
		if name := string(n.Meta); name != "" && len(name) <= maxName {
			e.c.up[n.Name] = name
			delete(e.c.gone, name)
		}
	})
}

// NotifyLeave implements memberlist.EventDelegate.
func (e events) NotifyLeave(n *memberlist.Node) {
	e.c.change(func() {
		name := e.c.up[n.Name]
		delete(e.c.up, n.Name)
		back := false // it was started again, and this is the end of what it was
		for _, other := range e.c.up {
			back = back || other == name
		}
		if name != "" && !back && len(e.c.gone) < maxSchedulers {
			e.c.gone[name] = struct{}{}
		}
	})
}

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
