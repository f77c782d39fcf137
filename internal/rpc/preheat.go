package rpc

import (
	"context"
	"fmt"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

const (
	// maxAuthorization bounds what a preheat reads with: tokens of registries
	// have some kilobytes.
	maxAuthorization = 16 << 10
	// maxRepository bounds the name of a repository; the distribution
	// specification's limit is 255 with the host.
	maxRepository = 255
)

// encodePreheat is the wire form of a preheat. More blobs than one message may
// hold are refused where jobs are made.
func encodePreheat(d scheduler.Preheat) *p2pdv1.Preheat {
	p := &p2pdv1.Preheat{
		Job: int64(d.Job), Registry: d.Registry, Repository: d.Repository,
		Authorization: d.Authorization.Reveal(), Bereft: d.Bereft, Reason: encodeReason(d.Reason),
		Unpack: d.Unpack, Login: d.Login.Reveal(),
	}
	for _, b := range d.Blobs[:min(len(d.Blobs), maxBlobs)] {
		p.Blobs = append(p.Blobs, &p2pdv1.PreheatBlob{Digest: b.Digest[:], Size: b.Size, Manifest: b.Manifest})
	}
	return p
}

func decodePreheat(p *p2pdv1.Preheat) (d scheduler.Preheat, err error) {
	if d.Job, err = decodeJob(p.GetJob()); err != nil {
		return d, err
	}
	host, err := decodeID("registry", p.GetRegistry())
	if err != nil {
		return d, err
	}
	d.Registry = string(host)
	if d.Repository = p.GetRepository(); d.Repository == "" || len(d.Repository) > maxRepository {
		return d, bad("repository", "%d bytes, 1 to %d are allowed", len(d.Repository), maxRepository)
	}
	if n := len(p.GetAuthorization()); n > maxAuthorization {
		return d, bad("authorization", "%d bytes, at most %d are allowed", n, maxAuthorization)
	}
	if n := len(p.GetLogin()); n > maxAuthorization {
		return d, bad("login", "%d bytes, at most %d are allowed", n, maxAuthorization)
	}
	if d.Unpack, err = decodeText("unpack", p.GetUnpack()); err != nil {
		return d, err
	}
	d.Login = secret.New(p.GetLogin())
	d.Authorization, d.Bereft = secret.New(p.GetAuthorization()), p.GetBereft()
	if err := atMost("blobs", len(p.GetBlobs()), maxBlobs); err != nil {
		return d, err
	}
	for i, b := range p.GetBlobs() {
		one, err := decodePreheatBlob(b)
		if err != nil {
			return d, in(fmt.Sprintf("blobs[%d]", i), err)
		}
		d.Blobs = append(d.Blobs, one)
	}
	d.Reason, err = decodeReason(p.GetReason())
	return d, err
}

func decodePreheatBlob(b *p2pdv1.PreheatBlob) (one scheduler.PreheatBlob, err error) {
	if one.Digest, err = decodeDigest("digest", b.GetDigest()); err != nil {
		return one, err
	}
	size := b.GetSize()
	one.Size, err = decodeSize(&size)
	one.Manifest = b.GetManifest()
	return one, err
}

func decodePreheatEnd(p *p2pdv1.PreheatEnd) (d scheduler.PreheatEnd, err error) {
	if d.Job, err = decodeJob(p.GetJob()); err != nil {
		return d, err
	}
	d.Reason, err = decodeReason(p.GetReason())
	return d, err
}

func decodeJob(n int64) (scheduler.PreheatJob, error) {
	if n < 1 || n > scheduler.PreheatJobMost {
		return 0, bad("job", "%d, 1 to %d are allowed", n, int64(scheduler.PreheatJobMost))
	}
	return scheduler.PreheatJob(n), nil
}

func encodePreheatReport(r scheduler.PreheatReport) *p2pdv1.PreheatReport {
	m := &p2pdv1.PreheatReport{
		Job: int64(r.Job), State: p2pdv1.PreheatState(r.State), Blobs: int32(min(r.Blobs, maxBlobs)), //nolint:gosec // it is bounded
		Bytes: r.Bytes, Error: encodeReason(r.Error), Unpacking: r.Unpacking,
	}
	if !r.Failed.IsZero() {
		m.Failed = r.Failed[:]
	}
	return m
}

func decodePreheatReport(m *p2pdv1.PreheatReport) (r scheduler.PreheatReport, err error) {
	if r.Job, err = decodeJob(m.GetJob()); err != nil {
		return r, err
	}
	st := m.GetState()
	if st < p2pdv1.PreheatState_PREHEAT_STATE_FETCHING || st > p2pdv1.PreheatState_PREHEAT_STATE_FAILED {
		return r, bad("state", "%d", st)
	}
	if n := m.GetBlobs(); n < 0 || n > maxBlobs {
		return r, bad("blobs", "%d, 0 to %d are allowed", n, maxBlobs)
	}
	r.State, r.Blobs, r.Unpacking = scheduler.PreheatState(st), int(m.GetBlobs()), m.GetUnpacking()
	if r.Bytes, err = decodeBytes("bytes", m.GetBytes()); err != nil {
		return r, err
	}
	if f := m.GetFailed(); len(f) > 0 {
		if r.Failed, err = decodeDigest("failed", f); err != nil {
			return r, err
		}
	}
	r.Error, err = decodeReason(m.GetError())
	return r, err
}

// Peers are those that have a stream, in no order.
func (s *Server) Peers(ctx context.Context) ([]scheduler.Peer, error) {
	found := make(chan []scheduler.Peer, 1) // Inspect may give up before it runs
	err := s.Inspect(ctx, func(Core) {
		all := make([]scheduler.Peer, 0, len(s.streams))
		for _, st := range s.streams {
			all = append(all, st.peer)
		}
		found <- all
	})
	if err != nil {
		return nil, err
	}
	return <-found, nil
}

// Pass sends decisions of others than the core to their peers. Those of peers
// without a stream are lost.
func (s *Server) Pass(ds []scheduler.Decision) {
	s.do(func() { s.tell(ds) })
}

// preheat takes a report on a job, if it is one.
func (s *Server) preheat(e scheduler.Event) bool {
	r, ok := e.(scheduler.PreheatReport)
	if ok && s.cfg.Preheat != nil {
		s.cfg.Preheat(r)
	}
	return ok
}
