package mirror

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// How long a first byte is waited for, by what is known of the blob: real
// defaults, virtual time.
func TestPatience(t *testing.T) {
	const mib = 1 << 20
	tests := []struct {
		name string
		say  func(since time.Duration) Arrival // nil: Arrivals is not there
		want time.Duration
	}{
		{"nobody to ask", nil, defaultWait},
		{"nothing", func(time.Duration) Arrival { return Arrival{} }, defaultFirstByte},
		{"bytes of old", func(time.Duration) Arrival { return Arrival{Bytes: 5 * mib} }, defaultFirstByte},
		{"a promise of old", func(time.Duration) Arrival { return Arrival{Promised: time.Unix(0, 0)} }, defaultFirstByte},
		{"too slow for the limit", func(since time.Duration) Arrival {
			return Arrival{Bytes: int64(since.Seconds() * 40e3)}
		}, defaultFirstByte},
		{"fast", func(since time.Duration) Arrival { return Arrival{Bytes: int64(since.Seconds() * mib)} }, defaultWait},
		{"fast for 5 s", func(since time.Duration) Arrival {
			return Arrival{Bytes: int64(min(5, since.Seconds()) * mib)}
		}, 3*defaultFirstByte + defaultFirstByte},
		{"a count that began anew", func(since time.Duration) Arrival { return Arrival{Bytes: 9*mib - int64(since.Seconds()*mib)} }, defaultFirstByte},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				cfg := Config{Blobs: newWorld(), Registries: newWorld()}
				if tt.say != nil {
					cfg.Arrivals = &arrivals{say: func(int64) Arrival { return tt.say(time.Since(began)) }}
				}
				m, err := New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				p := &patience{window: m.cfg.FirstByteTimeout, limit: m.cfg.WaitLimit, reason: m.arriving(piece.Digest{}, 100*mib)}
				ctx, cancel := p.wait(t.Context(), began)
				defer cancel()
				<-ctx.Done()
				if got := time.Since(began); got != tt.want {
					t.Errorf("waited %v, want %v", got, tt.want)
				}
				if err := explain(ctx, ctx.Err()); !errors.Is(err, errLate) || !errors.Is(err, context.Canceled) {
					t.Errorf("gave up with %v", err)
				}
			})
		})
	}
}

func TestPromisesAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		m, err := New(Config{Blobs: newWorld(), Registries: newWorld(), Arrivals: &arrivals{say: func(int64) Arrival {
			return Arrival{Promised: began.Add(min(time.Since(began), 7*time.Second))}
		}}})
		if err != nil {
			t.Fatal(err)
		}
		p := &patience{window: m.cfg.FirstByteTimeout, limit: m.cfg.WaitLimit, reason: m.arriving(piece.Digest{}, -1)}
		ctx, cancel := p.wait(t.Context(), began)
		defer cancel()
		<-ctx.Done()
		// The window from 6 to 8 s is the last with a promise in it.
		if got := time.Since(began); got != 10*time.Second {
			t.Errorf("waited %v", got)
		}
	})
}

func TestPatienceThatIsNotNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patience{window: time.Second, limit: time.Minute}
		ctx, cancel := p.wait(t.Context(), time.Now())
		cancel()
		cancel()
		time.Sleep(time.Hour)
		if err := explain(ctx, ctx.Err()); errors.Is(err, errLate) {
			t.Errorf("a wait that ended was given up: %v", err)
		}
	})
}

// A chunk waits for the ones before it, but not for longer than containerd
// waits for progress.
func TestChunksHaveALimitToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := &patience{window: time.Second, limit: 20 * time.Second, exempt: func() bool { return true }}
		ctx, cancel := p.wait(t.Context(), began)
		defer cancel()
		<-ctx.Done()
		if got := time.Since(began); got != chunkLimit {
			t.Errorf("waited %v", got)
		}
	})
}

// The wait counts from the request's begin, whatever was done before.
func TestLatenessIsToldInTime(t *testing.T) {
	w := newWorld()
	slow, b := w.add(pattern(100))
	b.await = never
	manifest, b := w.add(imageManifest(slow, 100, slow, 100))
	b.await = never
	w.tags[testHost+"/"+testRepo+":latest"] = Descriptor{Digest: manifest, Size: -1}
	lab := newLab(t, w, Config{FirstByteTimeout: time.Millisecond, WaitLimit: time.Hour, Arrivals: new(arrivals)})
	for _, path := range []string{blobPath(slow), manifestPath(manifest.String()), manifestPath("latest")} {
		a := lab.do("GET", path)
		if code, message := a.errorBody(); a.status != 503 || code != "UNAVAILABLE" || !strings.Contains(message, "in time: no sign of it") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

// A client that goes by the path has nowhere else to go for a blob.
func TestClientsByPathAreWaitedFor(t *testing.T) {
	w := newWorld()
	d, b := w.add(pattern(100))
	evidence := new(arrivals)
	await := make(chan struct{})
	b.await = func(ctx context.Context, _ int64) error {
		select {
		case <-await:
			return nil
		case <-ctx.Done():
			return &peer.OriginError{Status: 504}
		}
	}
	lab := newLab(t, w, Config{FirstByteTimeout: time.Millisecond, WaitLimit: time.Hour, Arrivals: evidence})
	byPath := make(chan answer, 1)
	go func() { byPath <- lab.do("GET", "/v2/"+testHost+"/"+testRepo+"/blobs/"+d.String()) }()
	for range 20 {
		if a := lab.do("GET", blobPath(d)); a.status != 503 {
			t.Fatalf("a client with somewhere to go got %d", a.status)
		}
	}
	close(await)
	if a := <-byPath; a.status != 200 || len(a.body) != 100 {
		t.Errorf("got %d, %d bytes", a.status, len(a.body))
	}
}
