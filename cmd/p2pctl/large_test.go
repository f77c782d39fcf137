package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/preheat"
	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/internal/web"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// large is a scheduler of many peers that come by themselves.
type large struct {
	mu   sync.Mutex // guards what follows
	core *scheduler.Scheduler
	now  time.Time
	blob piece.Digest
	size int64
	most int // its pieces
	have int // pieces that everybody has
}

const manyPeers = 10_000

func newLarge(t *testing.T) *large {
	t.Helper()
	l := &large{core: scheduler.New(scheduler.Config{Seed: 1}), now: time.Now(), blob: piece.Sum([]byte("large"))}
	layout, err := piece.NewLayout(512 << 20)
	if err != nil {
		t.Fatal(err)
	}
	l.size, l.most = layout.Size(), layout.Count()
	for i := range manyPeers {
		id := scheduler.PeerID(fmt.Sprintf("12D3KooW%044d", i))
		l.core.Step(l.now, scheduler.PeerUp{Peer: scheduler.Peer{ID: id, Zone: fmt.Sprint("zone-", i%3), Bulk: fmt.Sprintf("10.%d.%d.1:7302", i/256, i%256)}})
		blobs := []scheduler.Membership{{Digest: l.blob, Size: layout.Size(), Have: piece.NewBitfield(layout.Count()), Origin: "registry.test"}}
		for k := range 2 {
			d := piece.Sum(fmt.Append(nil, i, k))
			blobs = append(blobs, scheduler.Membership{Digest: d, Size: 1, Have: piece.FullBitfield(1)})
		}
		l.core.Step(l.now, scheduler.Join{Peer: id, Blobs: blobs})
	}
	return l
}

// View implements web.Brain. Each look finds some peers with more.
func (l *large) View(_ context.Context, f func(time.Time, *scheduler.Scheduler)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.now.Add(time.Second)
	l.have = min(l.have+8, l.most)
	have := piece.NewBitfield(l.most)
	for i := range l.have {
		have.Set(i)
	}
	for i := range 300 {
		id := scheduler.PeerID(fmt.Sprintf("12D3KooW%044d", i))
		l.core.Step(l.now, scheduler.Summary{Peer: id, Blobs: []scheduler.Progress{{Digest: l.blob, Size: l.size, Have: have}}})
	}
	f(l.now, l.core)
	return nil
}

// Ban implements web.Brain.
func (*large) Ban(context.Context, scheduler.BanPeer) error { return nil }

// Unban implements web.Brain.
func (*large) Unban(context.Context, scheduler.PeerID) error { return nil }

// With ten thousand peers and twenty thousand swarms the page shows no more than
// with some hundreds, and goes on to be live.
func TestThePageOfALargeCluster(t *testing.T) {
	b := startBrowser(t, 1600, 1000, true)
	srv := httptest.NewServer(web.New(web.Config{Guard: web.ByToken(secret.New("the-token-of-this-test")), Brain: newLarge(t), Preheats: preheat.NewDesk(preheat.Config{}), Ledger: crowded(), Started: time.Now()}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() }) // the page would watch on
	// What the browser itself takes for a page of one word, twice: when it has only just
	// started, and then.
	word := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<!doctype html><title>one</title><p>word")
	}))
	t.Cleanup(word.Close)
	var paints []string
	for _, url := range []string{word.URL, srv.URL + "/ui/", word.URL, srv.URL + "/ui/"} {
		b.open(url)
		b.until("performance.getEntriesByName('first-contentful-paint').length === 1")
		paints = append(paints, b.eval("Math.round(performance.getEntriesByName('first-contentful-paint')[0].startTime)"))
	}
	b.until("!document.getElementById('login').hidden")
	b.eval("window.began = performance.now(); document.getElementById('token').value = 'the-token-of-this-test'; document.getElementById('login').requestSubmit()")
	b.until("document.getElementById('peers').textContent === '10000'")
	shown := b.eval("Math.round(performance.now() - window.began)")
	b.until("document.getElementById('swarmRows').rows.length === 50")
	b.eval("location.hash = '#/swarm/" + piece.Sum([]byte("large")).String() + "'")
	b.until("document.getElementById('memberRows').rows.length === 200")
	first := b.eval("document.getElementById('heat').getAttribute('aria-label')") // it tells the progress
	b.until(fmt.Sprintf("document.getElementById('heat').getAttribute('aria-label') !== %q", first))
	b.shoot("large.png")
	b.eval("location.hash = '#/peers'")
	b.until("document.getElementById('peerRows').rows.length === 100 && !document.getElementById('morePeers').hidden")
	b.eval("document.getElementById('morePeers').click()")
	b.until("document.getElementById('peerRows').rows.length === 200")
	b.eval("location.hash = '#/images'")
	b.until("document.getElementById('imageRows').rows.length === 128 && document.getElementById('pulls').textContent.length > 4")
	b.eval("location.hash = '#/image/" + piece.Sum([]byte("app")).String() + "'")
	b.until("document.querySelectorAll('#waterfalls details').length === 8 && document.querySelectorAll('#waterfalls svg').length === 8 * 21")
	b.shoot("large-image.png")
	b.eval("location.hash = '#/checks'")
	b.until("document.getElementById('checkRows').rows.length === 200 && document.getElementById('moreChecks').textContent.includes('800 more')")
	for i := range 20 { // and back and forth
		b.eval(fmt.Sprintf("location.hash = '%s'", []string{"#/", "#/swarm/" + piece.Sum([]byte("large")).String()}[i%2]))
		b.until("document.getElementById('link').textContent.startsWith('live')")
	}
	nodes := b.eval("String(document.getElementsByTagName('*').length < 6000)")
	if nodes != "true" {
		t.Errorf("the page has %s elements", b.eval("document.getElementsByTagName('*').length"))
	}
	t.Logf("first paint after %s ms, and %s ms at the second look, where a page of one word takes %s ms in a browser that has just started, and then %s ms; ten thousand peers shown within %s ms of the token; %s elements, %s MiB of JavaScript's memory",
		paints[1], paints[3], paints[0], paints[2], shown, b.eval("document.getElementsByTagName('*').length"), b.eval("Math.round(performance.memory.usedJSHeapSize / 1048576)"))
	if wrong := b.troubles(http.StatusText(http.StatusUnauthorized), "status of 401"); len(wrong) > 0 {
		t.Errorf("the page has errors: %v", wrong)
	}
}
