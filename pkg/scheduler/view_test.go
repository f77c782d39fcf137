package scheduler_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// scene is a scheduler in the middle of one blob: a seed in zone a, a reader in
// zone b that has half, from the seed and the origin, and holds a lease.
type scene struct {
	core *scheduler.Scheduler
	blob piece.Digest
	now  time.Time
}

const sceneSize = 8 << 20

func newScene() *scene {
	s := &scene{core: scheduler.New(scheduler.Config{Seed: 1, LeaseBytes: 2 << 20}), blob: piece.Sum([]byte("app")), now: time.Unix(1000, 0)}
	l, _ := piece.NewLayout(sceneSize)
	none := piece.NewBitfield(l.Count())
	some := piece.NewBitfield(l.Count())
	some.Set(l.Count() - 1)
	s.step(scheduler.PeerUp{Peer: scheduler.Peer{ID: "reader", Zone: "b", Addrs: []string{"/ip4/192.0.2.1/tcp/1"}, Bulk: "192.0.2.1:2"}})
	s.step(scheduler.PeerUp{Peer: scheduler.Peer{ID: "other", Zone: "a", Rack: "r1"}})
	s.step(scheduler.Join{Peer: "reader", Blobs: []scheduler.Membership{{Digest: s.blob, Size: sceneSize, Have: none, Origin: "registry.test"}}})
	s.step(scheduler.Join{Peer: "other", Blobs: []scheduler.Membership{{Digest: s.blob, Size: sceneSize, Have: some}}})
	return s
}

func (s *scene) step(e scheduler.Event) []scheduler.Decision {
	s.now = s.now.Add(time.Millisecond)
	return s.core.Step(s.now, e)
}

func TestViewSwarm(t *testing.T) {
	s := newScene()
	v, ok := s.core.ViewSwarm(s.blob, scheduler.Page{})
	if !ok || len(v.Leases) != 1 {
		t.Fatalf("found %v, leases %v; want one", ok, v.Leases)
	}
	lease := v.Leases[0]
	if lease.Holder != "reader" || lease.Host != "registry.test" || lease.Pieces.Len() == 0 || lease.Granted.IsZero() {
		t.Errorf("lease %+v", lease)
	}
	if got := v.Leased.Count(); got != lease.Pieces.Len() {
		t.Errorf("%d pieces leased, the lease has %d", got, lease.Pieces.Len())
	}
	have := v.Members[1].Have
	have.Set(have.Len() - 1)
	s.step(scheduler.Summary{Peer: "reader", Blobs: []scheduler.Progress{{
		Digest: s.blob, Size: sceneSize, Have: have, Stalled: true,
		Leases: []scheduler.LeaseBytes{{ID: lease.ID, Bytes: 100}},
		Rates:  []scheduler.NeighbourBytes{{Peer: "other", Bytes: 1000}, {Peer: "liar", Bytes: 2 * sceneSize}},
	}}})
	s.step(scheduler.LeaseEnd{Peer: "reader", Digest: s.blob, Lease: lease.ID, Outcome: scheduler.Done})
	_, span := layoutOf(t).Span(lease.Pieces)

	v, _ = s.core.ViewSwarm(s.blob, scheduler.Page{})
	if want := (scheduler.Traffic{FromPeers: 1000, FromFar: 1000, FromOrigin: span}); v.Traffic != want {
		t.Errorf("traffic %+v, want %+v", v.Traffic, want)
	}
	of := []scheduler.Traffic{{ToPeers: 1000}, v.Traffic} // of a, and of b, which is all that was received
	if want := []scheduler.ZoneView{{Zone: "a", Members: 1, Gateways: 1, Traffic: of[0]}, {Zone: "b", Members: 1, Gateways: 1, Traffic: of[1]}}; !slices.Equal(v.Zones, want) {
		t.Errorf("zones %+v, want %+v", v.Zones, want)
	}
	if got, want := s.core.ViewZones(), []scheduler.PeersOfZone{{Zone: "a", Peers: 1, Traffic: of[0]}, {Zone: "b", Peers: 1, Traffic: of[1]}}; !slices.Equal(got, want) {
		t.Errorf("of all swarms: zones %+v, want %+v", got, want)
	}
	if v.Size != sceneSize || len(v.Members) != v.SwarmView.Members || v.Held != int64(v.Members[0].Have.Count()+v.Members[1].Have.Count()) {
		t.Errorf("size %d, members %d of %d, held %d", v.Size, len(v.Members), v.SwarmView.Members, v.Held)
	}
	other, reader := v.Members[0], v.Members[1]
	if other.Peer != "other" || other.Traffic.ToPeers != 1000 || other.Rack != "r1" || !slices.Equal(other.Neighbours, []scheduler.PeerID{"reader"}) {
		t.Errorf("other: %+v", other)
	}
	if reader.Peer != "reader" || reader.Have.Count() != 1+lease.Pieces.Len() || !reader.Gateway || reader.Complete {
		t.Errorf("reader: %+v", reader)
	}
	// A view is a copy.
	reader.Have.Clear(reader.Have.Len() - 1)
	if st := s.core.Stats(); st.FromPeers != 1000 || st.FromOrigin != span {
		t.Errorf("%d bytes from peers and %d from the origin, want 1000 and %d", st.FromPeers, st.FromOrigin, span)
	}
	again, _ := s.core.ViewSwarm(s.blob, scheduler.Page{})
	if again.Members[1].Have.Count() == reader.Have.Count() {
		t.Error("a change of the view changed the scheduler")
	}
	if _, ok := s.core.ViewSwarm(piece.Sum([]byte("no")), scheduler.Page{}); ok {
		t.Error("a swarm that is not there was shown")
	}
}

func layoutOf(t *testing.T) piece.Layout {
	t.Helper()
	l, err := piece.NewLayout(sceneSize)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestViewPeers(t *testing.T) {
	s := newScene()
	s.step(scheduler.Blame{Peer: "reader", Digest: s.blob, Neighbour: "other", Fault: scheduler.False})
	s.step(scheduler.BanPeer{Peer: "absent", For: time.Hour, Reason: "it is stolen"})
	page, more := s.core.ViewPeers(s.now, scheduler.Page{})
	if more || len(page) != 3 || page[0].Peer.ID != "absent" || page[1].Peer.ID != "other" || page[2].Peer.ID != "reader" {
		t.Fatalf("page %+v, more %v", page, more)
	}
	if b := page[0].Ban; page[0].Attached || b == nil || b.Reason != "it is stolen" || !b.Until.Equal(s.now.Add(time.Hour)) {
		t.Errorf("absent: %+v, ban %+v", page[0], b)
	}
	if p := page[1]; !p.Attached || p.Accusers != 1 || p.DoubtedUntil.IsZero() || p.Swarms != 1 || p.Missing != 1 || p.Ban != nil {
		t.Errorf("other: %+v", p)
	}
	d, ok := s.core.ViewPeer(s.now, "other")
	if !ok || !slices.Equal(d.AccusedBy, []scheduler.PeerID{"reader"}) || len(d.Memberships) != 1 || d.Memberships[0].Have != 1 {
		t.Errorf("other in detail: %+v", d)
	}
	r, _ := s.core.ViewPeer(s.now, "reader")
	if r.Leases == 0 || r.Peer.Bulk != "192.0.2.1:2" || r.Memberships[0].Digest != s.blob || r.Since.IsZero() {
		t.Errorf("reader: %+v", r)
	}
	if _, ok := s.core.ViewPeer(s.now, "nobody"); ok {
		t.Error("a peer of which nothing is known was shown")
	}
	if s.now = s.now.Add(time.Hour); s.core.ViewBan(s.now, "absent") != nil {
		t.Error("a ban that is over is shown")
	}
	hosts := s.core.ViewHosts(s.now)
	if len(hosts) != 1 || hosts[0].Host != "registry.test" || hosts[0].Leases == 0 || hosts[0].Bytes != 0 {
		t.Errorf("hosts %+v", hosts)
	}
}

// Pages one after the other are the whole list, in order, each thing once.
func TestPages(t *testing.T) {
	core := scheduler.New(scheduler.Config{Seed: 1})
	now := time.Unix(1000, 0)
	var want []string
	for i := range 57 {
		id := scheduler.PeerID(fmt.Sprintf("p%02d", i*31%57))
		core.Step(now, scheduler.PeerUp{Peer: scheduler.Peer{ID: id}})
		d := piece.Sum([]byte(id))
		core.Step(now, scheduler.Join{Peer: id, Blobs: []scheduler.Membership{{Digest: d, Size: 1, Have: piece.FullBitfield(1)}}})
		want = append(want, d.String())
	}
	slices.Sort(want)
	for _, limit := range []int{1, 2, 19, 56, 57, 58, 0} {
		var got []string
		for after, more := "", true; more; {
			var page []scheduler.SwarmView
			page, more = core.ViewSwarms(scheduler.Page{After: after, Limit: limit}, false)
			for _, sw := range page {
				got = append(got, sw.Digest.String())
			}
			if len(page) == 0 || limit > 0 && len(page) > limit {
				t.Fatalf("limit %d: a page of %d", limit, len(page))
			}
			after = got[len(got)-1]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("limit %d (-want +got):\n%s", limit, diff)
		}
	}
	if active, _ := core.ViewSwarms(scheduler.Page{}, true); len(active) != 0 {
		t.Errorf("%d swarms miss something, though all members have all", len(active))
	}
	if page, more := core.ViewPeers(now, scheduler.Page{Limit: 100000}); len(page) != 57 || more {
		t.Errorf("%d peers, more %v", len(page), more)
	}
}
