package rpc

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

const (
	// maxSightings bounds those of one Vouch, and of what a peer repeats to
	// a scheduler that it comes to: the images that a node runs, many times.
	maxSightings = 1024
	// vouchWait is how long one call may take.
	vouchWait = 2 * time.Second
	// vouchPause gathers what an image's pull brings into one call.
	vouchPause = 200 * time.Millisecond
)

// vouches are the server's memory of sightings. They touch no swarm, so they
// need not pass through the loop.
type vouches struct {
	mu sync.Mutex
	of *scheduler.Vouches
}

// Vouch implements p2pdv1.SchedulerServiceServer.
func (s *Server) Vouch(_ context.Context, r *p2pdv1.VouchRequest) (*p2pdv1.VouchResponse, error) {
	if n := len(r.GetSightings()); n > maxSightings {
		return nil, status.Errorf(codes.InvalidArgument, "sightings: %d of them, at most %d are allowed", n, maxSightings)
	}
	now := time.Now()
	s.vouches.mu.Lock()
	defer s.vouches.mu.Unlock()
	for i, one := range r.GetSightings() {
		k, err := decodeVouchKey(one.GetKey())
		if err != nil || one.GetAgeMs() < 0 {
			return nil, status.Errorf(codes.InvalidArgument, "sightings[%d]: %v, age %d ms", i, err, one.GetAgeMs())
		}
		if age := one.GetAgeMs(); age < scheduler.VouchFor.Milliseconds() {
			s.vouches.of.Vouch(k, now.Add(-time.Duration(age)*time.Millisecond))
		}
	}
	return &p2pdv1.VouchResponse{}, nil
}

// Recall implements p2pdv1.SchedulerServiceServer.
func (s *Server) Recall(_ context.Context, r *p2pdv1.RecallRequest) (*p2pdv1.RecallResponse, error) {
	k, err := decodeVouchKey(r.GetKey())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	now := time.Now()
	s.vouches.mu.Lock()
	defer s.vouches.mu.Unlock()
	at, ok := s.vouches.of.Recall(k, now)
	if !ok {
		return &p2pdv1.RecallResponse{}, nil
	}
	age := max(now.Sub(at), 0).Milliseconds()
	return &p2pdv1.RecallResponse{AgeMs: &age}, nil
}

func decodeVouchKey(b []byte) (k scheduler.VouchKey, err error) {
	if len(b) != len(k) {
		return k, bad("key", "%d bytes, want %d", len(b), len(k))
	}
	return scheduler.VouchKey(b), nil
}

// sightings are what this peer vouches for. A scheduler that forgot, or that
// is new, is told all of it again.
type sightings struct {
	mu      sync.Mutex
	at      map[scheduler.VouchKey]time.Time
	unsent  map[scheduler.VouchKey]bool
	changed chan struct{} // has a token when there is something unsent
}

func newSightings() *sightings {
	return &sightings{
		at: make(map[scheduler.VouchKey]time.Time), unsent: make(map[scheduler.VouchKey]bool),
		changed: make(chan struct{}, 1),
	}
}

// Vouch tells the scheduler, now or when there is one, that a registry has
// just shown what k stands for to somebody without a credential. It does not
// block. Where there is too much to repeat, the oldest goes.
func (c *Client) Vouch(k scheduler.VouchKey) {
	c.sightings.add(k, time.Now())
}

// add remembers one, to be sent.
func (s *sightings) add(k scheduler.VouchKey, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[k], s.unsent[k] = now, true
	if len(s.at) > maxSightings {
		oldest := k
		for other, at := range s.at {
			if at.Before(s.at[oldest]) {
				oldest = other
			}
		}
		delete(s.at, oldest)
		delete(s.unsent, oldest)
	}
	s.notify()
}

// copy takes over what another has.
func (s *sightings) copy(from *sightings) {
	from.mu.Lock()
	all := maps.Clone(from.at)
	from.mu.Unlock()
	for k, at := range all {
		s.add(k, at)
	}
}

// notify wakes the sender; s.mu is held.
func (s *sightings) notify() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// again has all of it sent anew.
func (s *sightings) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.at {
		s.unsent[k] = true
	}
	if len(s.at) > 0 {
		s.notify()
	}
}

// take is what has not been sent.
func (s *sightings) take(now time.Time) *p2pdv1.VouchRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &p2pdv1.VouchRequest{}
	for k := range s.unsent {
		r.Sightings = append(r.Sightings, &p2pdv1.Sighting{Key: append([]byte(nil), k[:]...), AgeMs: max(now.Sub(s.at[k]), 0).Milliseconds()})
	}
	clear(s.unsent)
	return r
}

// vouch sends sightings until ctx, the stream's, ends. One that fails is sent
// again with the next stream.
func (c *Client) vouch(ctx context.Context, svc p2pdv1.SchedulerServiceClient) {
	c.sightings.again()
	for {
		select {
		case <-c.sightings.changed:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(vouchPause):
		case <-ctx.Done():
			return
		}
		r := c.sightings.take(time.Now())
		if len(r.GetSightings()) == 0 {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, vouchWait)
		_, err := svc.Vouch(limited, r)
		cancel()
		if err != nil && ctx.Err() == nil {
			c.log.Debug("the scheduler does not take what this peer vouches for", "err", err)
		}
	}
}

// Recall asks the scheduler how long ago any peer vouched for what k stands
// for; false: none has. It fails if there is no scheduler to ask.
func (c *Client) Recall(ctx context.Context, k scheduler.VouchKey) (age time.Duration, known bool, err error) {
	conn := c.conn.Load()
	if conn == nil {
		return 0, false, fmt.Errorf("ask the scheduler who vouches: %w", errUnreachable)
	}
	ctx, cancel := context.WithTimeout(ctx, vouchWait)
	defer cancel()
	r, err := p2pdv1.NewSchedulerServiceClient(conn).Recall(ctx, &p2pdv1.RecallRequest{Key: k[:]})
	if err != nil {
		return 0, false, fmt.Errorf("ask the scheduler who vouches: %w", err)
	}
	if r.AgeMs == nil || r.GetAgeMs() < 0 || r.GetAgeMs() > scheduler.VouchFor.Milliseconds() {
		return 0, false, nil
	}
	return time.Duration(r.GetAgeMs()) * time.Millisecond, true, nil
}
