package origin

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// contextEnded is of somebody who has gone.
func contextEnded(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// While nothing answers, a tag is what it was, if the operator allows it. What
// a registry refuses is refused, and what it says now is what counts.
func TestServeStale(t *testing.T) {
	content := some(50)
	for name, c := range map[string]struct {
		status int // of the answer after the first
		stale  time.Duration
		serves bool
	}{
		"500": {500, time.Hour, true}, "503": {503, time.Hour, true}, "429": {429, time.Hour, true}, "hangs": {-1, time.Hour, true},
		"gone": {-2, time.Hour, true},
		"401":  {401, time.Hour, false}, "403": {403, time.Hour, false}, "404": {404, time.Hour, false}, "412": {412, time.Hour, false},
		"not allowed": {500, 0, false}, "too old": {500, time.Nanosecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			var status atomic.Int64
			l.serve(registryHost, open(func(w http.ResponseWriter, r *http.Request) {
				switch s := status.Load(); s {
				case 0:
					w.Header().Set(digestHeader, piece.Sum(content).String())
					ranged(content)(w, r)
				case -1:
					<-r.Context().Done()
				case -2:
					panic(http.ErrAbortHandler)
				default:
					w.WriteHeader(int(s))
				}
			}))
			o := l.origin(Config{
				Registries:    []Registry{{Host: registryHost, Endpoint: "http://" + registryHost, ServeStale: c.stale}},
				SwitchTimeout: 300 * time.Millisecond, HeaderTimeout: 500 * time.Millisecond,
			})
			fresh, err := o.Resolve(deadline(t), registryHost, repo, "v1")
			if err != nil || fresh.Stale != 0 {
				t.Fatalf("%+v, %v", fresh, err)
			}
			status.Store(int64(c.status))
			got, err := o.Resolve(deadline(t), registryHost, repo, "v1")
			if !c.serves {
				if err == nil || o.Stats().Stale != 0 {
					t.Errorf("%+v, %v", got, err)
				}
				return
			}
			if err != nil || got.Stale <= 0 || got.Digest != fresh.Digest || got.Size != 50 || o.Stats().Stale != 1 {
				t.Errorf("%+v, %v", got, err)
			}
			if other, err := o.Resolve(deadline(t), registryHost, repo, "v2"); err == nil {
				t.Errorf("a tag that was never asked for: %+v", other)
			}
			if gone, err := o.Resolve(contextEnded(t), registryHost, repo, "v1"); err == nil {
				t.Errorf("to a client that has gone: %+v", gone)
			}
			status.Store(0)
			if got, err := o.Resolve(deadline(t), registryHost, repo, "v1"); err != nil || got.Stale != 0 {
				t.Errorf("after that: %+v, %v", got, err)
			}
		})
	}
}

// Where there is an old answer, an origin that hangs is not waited for as long
// as where there is none.
func TestAnOldAnswerNeedsNoPatience(t *testing.T) {
	l := newLab(t)
	var hangs atomic.Bool
	l.serve(registryHost, open(func(w http.ResponseWriter, r *http.Request) {
		if hangs.Load() {
			<-r.Context().Done()
		}
		w.Header().Set(digestHeader, piece.Sum(nil).String())
		ranged(some(10))(w, r)
	}))
	o := l.origin(Config{
		Registries:    []Registry{{Host: registryHost, Endpoint: "http://" + registryHost, ServeStale: time.Hour}},
		SwitchTimeout: 100 * time.Millisecond, HeaderTimeout: time.Hour,
	})
	for _, stale := range []bool{false, true} {
		hangs.Store(stale)
		ctx := deadline(t)
		if d, err := o.Resolve(ctx, registryHost, repo, "v1"); err != nil || (d.Stale > 0) != stale || ctx.Err() != nil {
			t.Errorf("%+v, %v", d, err)
		}
	}
}

func TestTagsAreBounded(t *testing.T) {
	tags := newTags(2)
	key := func(i int) tagKey { return tagKey{"h", "r", fmt.Sprint(i)} }
	now := time.Now()
	for i := range 3 {
		tags.put(key(i), Descriptor{Size: int64(i)}, now)
		tags.get(key(0), time.Hour, now)
	}
	for i, want := range []bool{true, false, true} {
		if _, ok := tags.get(key(i), time.Hour, now); ok != want {
			t.Errorf("tag %d is remembered: %v", i, ok)
		}
	}
	if len(tags.items) != 2 || tags.order.Len() != 2 {
		t.Errorf("%d, %d", len(tags.items), tags.order.Len())
	}
	tags.put(key(0), Descriptor{Size: 9}, now)
	if d, ok := tags.get(key(0), time.Minute, now.Add(time.Minute)); !ok || d.Size != 9 || d.Stale != time.Minute || len(tags.items) != 2 {
		t.Errorf("%+v", d)
	}
	if _, ok := tags.get(key(0), time.Minute, now.Add(time.Minute+1)); ok {
		t.Error("too old")
	}
}
