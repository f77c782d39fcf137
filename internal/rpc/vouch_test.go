package rpc

import (
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// recalls asks until the answer is yes.
func recalls(t *testing.T, c *Client, k scheduler.VouchKey) {
	t.Helper()
	deadline := time.After(patience)
	for {
		age, known, err := c.Recall(t.Context(), k)
		if err == nil && known {
			if age < 0 || age > patience {
				t.Errorf("%v ago", age)
			}
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatalf("%x is not known: %v", k, err)
		}
	}
}

// What one peer vouches for another is told, also by a scheduler that comes
// anew and knows nothing.
func TestVouching(t *testing.T) {
	a, b := scheduler.VouchKey{1}, scheduler.VouchKey{2}
	_, addr, stop := serve(t, "127.0.0.1:0", ServerConfig{Core: newCore()})
	h, one, _ := dial(t, addr, "one")
	one.Vouch(a)
	next(t, "stream", h.attached)
	_, other, _ := dial(t, addr, "other")
	recalls(t, other, a)
	if _, known, err := other.Recall(t.Context(), b); known || err != nil {
		t.Errorf("nobody vouched: %v, %v", known, err)
	}
	one.Vouch(b)
	recalls(t, other, b)

	stop()
	next(t, "detachment", h.detached)
	serve(t, addr, ServerConfig{Core: newCore()})
	recalls(t, other, a)
	recalls(t, other, b)
}

func TestVouchesAreBounded(t *testing.T) {
	c := NewClient(ClientConfig{})
	for i := range maxSightings + 10 {
		c.Vouch(scheduler.VouchKey{byte(i), byte(i >> 8)})
	}
	r := c.sightings.take(time.Now())
	if len(r.GetSightings()) != maxSightings || len(c.sightings.at) != maxSightings {
		t.Errorf("%d to send, %d kept", len(r.GetSightings()), len(c.sightings.at))
	}
	if _, _, err := c.Recall(t.Context(), scheduler.VouchKey{}); err == nil {
		t.Error("asked without a scheduler")
	}
}

func TestMalformedVouches(t *testing.T) {
	_, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: newCore()})
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	svc := p2pdv1.NewSchedulerServiceClient(conn)
	good := make([]byte, 16)
	for name, r := range map[string]*p2pdv1.VouchRequest{
		"short key": {Sightings: []*p2pdv1.Sighting{{Key: good[:15]}}},
		"no key":    {Sightings: []*p2pdv1.Sighting{{}}},
		"future":    {Sightings: []*p2pdv1.Sighting{{Key: good, AgeMs: -1}}},
		"too many":  {Sightings: make([]*p2pdv1.Sighting, maxSightings+1)},
	} {
		for i := range r.Sightings {
			if r.Sightings[i] == nil {
				r.Sightings[i] = &p2pdv1.Sighting{Key: good}
			}
		}
		if _, err := svc.Vouch(t.Context(), r); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := svc.Recall(t.Context(), &p2pdv1.RecallRequest{Key: good[:3]}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("recall: %v", err)
	}
	old := &p2pdv1.VouchRequest{Sightings: []*p2pdv1.Sighting{{Key: good, AgeMs: 1 << 62}}}
	if _, err := svc.Vouch(t.Context(), old); err != nil {
		t.Errorf("an old one: %v", err)
	}
	if got, err := svc.Recall(t.Context(), &p2pdv1.RecallRequest{Key: good}); err != nil || got.AgeMs != nil {
		t.Errorf("an old one is known: %v, %v", got, err)
	}
}
