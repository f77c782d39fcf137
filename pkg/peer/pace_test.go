package peer

import (
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/choice"
	"github.com/p2pd/p2pd/pkg/piece"
)

// Where requests take long, a download may have more of them under way than
// choice.MaxFetches.
func TestADownloadAsksEarly(t *testing.T) {
	p := &Peer{}
	layout, err := piece.NewLayout(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	d := &download{p: p, layout: layout, board: newBoard(), fetches: make(map[int][]*fetch)}
	for i := range choice.MaxFetches {
		d.fetches[i] = []*fetch{{piece: i}}
	}
	p.fetching.Store(choice.MaxFetches)
	if d.mayFetch() {
		t.Fatal("asks for more than usual before it knows how long requests take")
	}
	for range 5 {
		p.pace.observeNeighbour(layout.PieceSize(), 100*time.Millisecond, 500*time.Millisecond)
	}
	if !d.mayFetch() {
		t.Error("asks for no more than usual although a fifth of each piece's time is that of its request")
	}
}
