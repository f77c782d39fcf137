package daemon

import (
	"context"
	"net/http"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/web"
)

// The local socket, which its file mode protects, is for this machine's
// commands: those that bring blobs, and what operators ask.

// localHandler answers on the local socket.
func (n *Node) localHandler() http.Handler {
	cfg := web.Config{Guard: web.BySocket(caller), Node: newAsked(n), Version: n.version, Started: time.Now(), Logger: n.log}
	if n.hub != nil {
		cfg.Brain, cfg.Preheats, cfg.Ledger = operated{n.hub}, n.hub.desk, &n.hub.ledger
	}
	mux := http.NewServeMux()
	mux.Handle(api.Prefix+"/", web.New(cfg))
	mux.Handle("/", newDepot(n.held, n.peer.Offer, n.log).handler())
	return mux
}

// asked is a node as operators see it.
type asked struct {
	n         *Node
	verifying chan struct{} // has room for one
}

func newAsked(n *Node) *asked { return &asked{n: n, verifying: make(chan struct{}, 1)} }

// Status implements web.Node.
func (a *asked) Status(context.Context) (api.NodeStatus, error) {
	n, self, p, s := a.n, a.n.net.Self(), a.n.peer.Stats(), a.n.store.Stats()
	address := n.cfg.Scheduler.Address
	if n.hub != nil {
		address = n.hub.addressHere()
	}
	st := api.NodeStatus{
		ID: string(self.ID), Addresses: self.Addrs, Bulk: self.Bulk, Zone: self.Zone, Rack: self.Rack,
		Mirror: n.mirrorL.Addr().String(), Scheduler: address, Connected: p.Attached, Downloads: p.Downloads,
		Blobs: s.Blobs, CacheBytes: s.WholeBytes + s.PartialBytes, CacheCapacity: s.Capacity,
		Bytes: api.Bytes{Peers: p.ReceivedPeer, Origin: p.ReceivedOrigin}, Sent: p.Uploaded, Served: p.ServedStore + p.ServedDownload,
		FalsePieces: p.FalsePieces, FalseBlobs: p.FalseBlobs, NoRoom: s.NoSpace, Usage: usage(),
	}
	if n.client != nil && !st.Connected {
		if err := n.client.Trouble(); err != nil {
			st.SchedulerTrouble = err.Error()
		}
	}
	if room, known := n.store.DiskRoom(); known {
		st.DiskRoom = &room
	}
	return st, nil
}

// Report implements web.Node.
func (a *asked) Report(run api.CheckRun) error {
	if a.n.reports == nil || !a.n.peer.Stats().Attached {
		return &api.Error{Status: http.StatusServiceUnavailable, Message: "this p2pd has no scheduler to tell", Hint: "p2pctl status says why"}
	}
	a.n.reports.Checked(run)
	return nil
}
