package rpc

import (
	"errors"
	"io"
	"slices"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// attachServer is the scheduler's end of a stream as gRPC has it.
type attachServer = grpc.BidiStreamingServer[p2pdv1.AttachRequest, p2pdv1.AttachResponse]

// stream is one peer's.
type stream struct {
	peer scheduler.Peer
	out  *queue[scheduler.Decision]
	quit chan struct{} // closed by the loop when the stream must end
	why  error         // set before that, where there is more to say than usual
	// reports bounds what is taken of them; nil until one has come. Its reader
	// alone uses it.
	reports *rate.Limiter
}

// newStream makes one that the loop has yet to admit.
func (s *Server) newStream(p scheduler.Peer) *stream {
	return &stream{peer: p, out: newQueue[scheduler.Decision](s.cfg.DecisionQueue), quit: make(chan struct{})}
}

// Attach implements the service.
func (s *Server) Attach(g attachServer) error {
	peer, err := s.greet(g)
	if err != nil {
		return err
	}
	if err := s.cfg.Guard.speaksFor(g.Context(), peer.ID); err != nil {
		return err
	}
	peer.Node = s.cfg.Guard.nodeOf(g.Context())
	if peer.Rack == "" && peer.Node != "" && s.cfg.Rack != nil {
		peer.Rack = s.cfg.Rack(g.Context(), peer.Node)
	}
	st := s.newStream(peer)
	if !s.do(func() { s.admit(st) }) {
		return stopping()
	}
	defer s.do(func() { s.drop(st) })
	// The header tells the peer that it is in, and with whom.
	if err := g.SendHeader(metadata.Join(metadata.Pairs(nameKey, s.cfg.Name), takes)); err != nil {
		return err
	}
	s.log.Debug("peer attached", "peer", peer.ID, "zone", peer.Zone, "rack", peer.Rack)

	received, sent := make(chan error, 1), make(chan error, 1)
	s.pumps.Go(func() { received <- s.receive(g, st) })
	s.pumps.Go(func() { sent <- s.send(g, st.out) })
	// Returning ends g's context, and with it both pumps; also one that is
	// stuck in a Send to a peer that does not read.
	select {
	case err := <-sent:
		return err
	case err := <-received:
		return err
	case <-st.quit:
		if st.why != nil {
			return st.why
		}
		return status.Error(codes.Aborted, "this stream was replaced or did not keep up")
	case <-s.ended:
		return stopping()
	}
}

func stopping() error { return status.Error(codes.Unavailable, "scheduler is stopping") }

// greet waits for the hello that opens a stream.
func (s *Server) greet(g attachServer) (scheduler.Peer, error) {
	type arrival struct {
		m   *p2pdv1.AttachRequest
		err error
	}
	first := make(chan arrival, 1)
	s.pumps.Go(func() {
		m, err := g.Recv()
		first <- arrival{m, err}
	})
	late := time.NewTimer(helloWait)
	defer late.Stop()
	select {
	case a := <-first:
		if a.err != nil {
			return scheduler.Peer{}, a.err
		}
		peer, err := decodeHello(a.m)
		if err != nil {
			return peer, s.refuse(err)
		}
		s.events[kindHello].Add(1)
		return peer, nil
	case <-late.C:
		return scheduler.Peer{}, status.Error(codes.DeadlineExceeded, "no hello")
	case <-s.ended:
		return scheduler.Peer{}, stopping()
	}
}

// refuse counts a malformed message and gives it the status that ends its
// stream.
func (s *Server) refuse(err error) error {
	s.malformed.Add(1)
	return status.Error(codes.InvalidArgument, err.Error())
}

// send passes decisions on until the stream ends.
func (s *Server) send(g attachServer, out *queue[scheduler.Decision]) error {
	for {
		ds, err := out.take(g.Context())
		if err != nil {
			return err
		}
		all := encodeDecisions(s.signed(ds))
		if len(all) == 0 && slices.Contains(ds, beaten) {
			all = append(all, &p2pdv1.AttachResponse{})
		}
		for _, m := range all {
			if err := g.Send(m); err != nil {
				return err
			}
		}
	}
}

// signed signs the tickets among decisions; the caller gives ds away. It is done here, and not
// in the loop, because ten thousand peers that come at once want many signatures.
func (s *Server) signed(ds []scheduler.Decision) []scheduler.Decision {
	for i, d := range ds {
		t, ok := d.(scheduler.Ticket)
		if !ok {
			continue
		}
		var err error
		if t.Signed, err = s.ticket(t); err != nil {
			s.log.Warn("a peer gets no ticket", "peer", t.To, "err", err)
			ds[i] = nil // nothing is sent for it
			continue
		}
		ds[i] = t
	}
	return ds
}

func (s *Server) ticket(t scheduler.Ticket) ([]byte, error) {
	if s.cfg.Ticket == nil {
		return nil, errors.New("this scheduler has nothing to sign tickets with")
	}
	return s.cfg.Ticket(t.To, t.Digest)
}

// receive passes a stream's events on until it ends.
func (s *Server) receive(g attachServer, st *stream) error {
	for {
		m, err := g.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if m.GetBeat() != nil {
			st.out.put(beaten, nil) // or there is more to say than there is room for
			continue
		}
		if is, err := s.report(st, m); err != nil {
			return s.refuse(err)
		} else if is {
			continue
		}
		e, err := decodeEvent(st.peer.ID, m)
		if err != nil {
			return s.refuse(err)
		}
		if e == nil {
			continue // a kind that this wire does not know
		}
		s.count(e)
		if s.preheat(e) {
			continue
		}
		if s.behind() && repeats(e) {
			s.skipped.Add(1)
			continue
		}
		if !s.do(func() { s.stepFrom(st, e) }) {
			return stopping()
		}
	}
}

// repeats reports whether an event may be left out because the same peer says what
// matters of it again in its next summary, and nobody waits for it.
func repeats(e scheduler.Event) bool {
	s, ok := e.(scheduler.Summary)
	return ok && !slices.ContainsFunc(s.Blobs, func(p scheduler.Progress) bool {
		whole := p.Have.Len() > 0 && p.Have.Full()     // is said once
		return whole || p.Stalled || len(p.Leases) > 0 // without a word of it a lease runs out
	})
}
