package peer_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/peer/peertest"
)

// Of a pull among others the journal tells who was met, what was read under
// which lease and why, and who gave how much; while it runs it can be looked at.
func TestWhatIsToldOfAPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal.Journal
		c := lab(t, 6, func(cfg *peertest.Config) { cfg.Journal = &j })
		blob := content(1, 24*mib)
		d := c.Origin.Add(blob)
		var pulls sync.WaitGroup
		pulls.Go(func() { pull(t, c.Nodes[1:], d, int64(len(blob))) })
		time.Sleep(10 * time.Millisecond) // who comes first is introduced to nobody
		pulls.Go(func() { pull(t, c.Nodes[:1], d, int64(len(blob))) })
		time.Sleep(time.Second) // of virtual time: in the middle
		views, err := c.Nodes[0].Peer.Downloads(t.Context())
		if err != nil || len(views) != 1 {
			t.Fatalf("%d downloads, %v", len(views), err)
		}
		v := views[0]
		if v.Digest != d || v.Size != int64(len(blob)) || v.Readers != 1 || v.Have.Count() == 0 || v.Have.Full() || len(v.Neighbours) != 5 {
			t.Errorf("%+v", v)
		}
		if bytes := sum(v.Given); bytes != int64(v.Have.Count())*mib {
			t.Errorf("sources gave %d bytes, %d pieces are here", bytes, v.Have.Count())
		}
		pulls.Wait()
		synctest.Wait()
		s, ok := j.Of(d.String())
		if !ok || sum(s.Given) != int64(len(blob)) || len(s.Given) < 2 {
			t.Errorf("story %v, sources %+v", ok, s.Given)
		}
		told := make(map[journal.Kind]string)
		for _, e := range s.Entries {
			t.Logf("%v %s %d× %s", e.At.Sub(s.Entries[0].At), e.Kind, e.Times, e.Text)
			told[e.Kind] += e.Text + "\n"
		}
		for kind, part := range map[journal.Kind]string{
			journal.Asked: "a download begins", journal.Joined: "the scheduler is told", journal.Introduced: "n0",
			journal.Lease: "(nobody has pieces", journal.LeaseEnd: "is done", journal.Complete: "25165824 bytes in",
		} {
			if !strings.Contains(told[kind], part) {
				t.Errorf("%s does not tell %q but %q", kind, part, told[kind])
			}
		}
		if views, err := c.Nodes[0].Peer.Downloads(t.Context()); err != nil || len(views) != 0 {
			t.Errorf("afterwards: %d downloads, %v", len(views), err)
		}
	})
}

// What fails is told with its reason.
func TestWhatIsToldOfAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal.Journal
		c := lab(t, 1, func(cfg *peertest.Config) { cfg.Journal = &j })
		d := c.Origin.Add(content(2, mib))
		c.Origin.Fail(&peer.OriginError{Status: 403, Message: "not yours"})
		if _, err := c.Nodes[0].Pull(t.Context(), c.Nodes[0].Ref(d, mib)); err == nil {
			t.Fatal("pulled what the origin refuses")
		}
		synctest.Wait()
		s, _ := j.Of(d.String())
		if last := s.Entries[len(s.Entries)-1]; last.Kind != journal.Failed || !strings.Contains(last.Text, "403") {
			t.Errorf("the last entry is %+v", last)
		}
	})
}

func sum(given []journal.Given) (n int64) {
	for _, g := range given {
		n += g.Bytes
	}
	return n
}
