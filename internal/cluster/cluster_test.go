package cluster

import (
	"bytes"
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// memberlist's metrics have a goroutine of their own, made when the
	// package is loaded.
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// patience bounds every wait.
const patience = 30 * time.Second

// one is a scheduler of a test.
type one struct {
	*Cluster
	stop func()
	mu   sync.Mutex
	up   []string
}

func (o *one) names() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.up
}

// start runs one until the test ends.
func start(t *testing.T, name string, key byte, seeds ...string) *one {
	t.Helper()
	c, err := New(Config{Name: name, Listen: "127.0.0.1:0", Seeds: seeds, Key: bytes.Repeat([]byte{key}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	o := &one{Cluster: c}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- c.Run(ctx, func(names []string) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.up = names
		})
	}()
	o.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	t.Cleanup(o.stop)
	return o
}

// knows waits until one knows exactly these to be up.
func (o *one) knows(t *testing.T, want ...string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !slices.Equal(o.names(), want); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s knows %v, want %v", o.cfg.Name, o.names(), want)
		}
	}
}

// Each finds all by way of one, and hears when one goes and comes back.
func TestSchedulersFindEachOther(t *testing.T) {
	a := start(t, "a:1", 1)
	b, c := start(t, "b:1", 1, a.Addr()), start(t, "c:1", 1, a.Addr())
	for _, o := range []*one{a, b, c} {
		o.knows(t, "a:1", "b:1", "c:1")
	}
	b.stop()
	a.knows(t, "a:1", "c:1")
	c.knows(t, "a:1", "c:1")
	if got := c.Stats(); got != (Stats{Alive: 2, Gone: 1}) {
		t.Errorf("after one has gone: %+v", got)
	}
	again := start(t, "b:1", 1, a.Addr()) // at another port
	again.knows(t, "a:1", "b:1", "c:1")
	c.knows(t, "a:1", "b:1", "c:1")
	if got := c.Stats(); got != (Stats{Alive: 3}) {
		t.Errorf("after it has come back: %+v", got)
	}
}

// The first may start last: seeds are tried again.
func TestASeedThatComesLate(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	b := start(t, "b:1", 1, address)
	b.knows(t, "b:1")
	c, err := New(Config{Name: "a:1", Listen: address, Key: bytes.Repeat([]byte{1}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, func([]string) {}) }()
	b.knows(t, "a:1", "b:1")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Who does not have the key is not let in, and hears nothing.
func TestAStrangerHearsNothing(t *testing.T) {
	a := start(t, "a:1", 1)
	b := start(t, "b:1", 1, a.Addr())
	stranger := start(t, "x:1", 2, a.Addr(), b.Addr())
	a.knows(t, "a:1", "b:1")
	for range 3 {
		stranger.seek(t.Context())
	}
	if got := stranger.names(); !slices.Equal(got, []string{"x:1"}) {
		t.Errorf("the stranger knows %v", got)
	}
	a.knows(t, "a:1", "b:1")
}

func TestSeeds(t *testing.T) {
	for seed, ok := range map[string]bool{"a.example:7312": true, "10.0.0.1:1": true, "[::1]:5": true, "a.example": false, ":7312": false, "a:0": false, "a:x": false, "": false} {
		if err := CheckSeed(seed); (err == nil) != ok {
			t.Errorf("seed %q: %v", seed, err)
		}
	}
	if _, err := New(Config{Listen: "127.0.0.1:0", Key: make([]byte, 32)}); err == nil {
		t.Error("a scheduler without a name")
	}
	if _, err := New(Config{Name: "a:1", Listen: "nowhere", Key: make([]byte, 32)}); err == nil {
		t.Error("an address that is none was taken")
	}
}
