package rpc

import (
	"context"
	"errors"
	"math"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/p2pd/p2pd/internal/api"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// preheatMessage bounds what an operator sends: the largest request names a thousand
// nodes.
const preheatMessage = 64 << 10

// PreheatDesk is what operators may have done. Errors are *api.Error, and what is said
// of the caller is in the context.
type PreheatDesk interface {
	CreatePreheat(ctx context.Context, r api.PreheatRequest) (api.Preheat, error)
	Preheat(ctx context.Context, id int64) (api.Preheat, error)
	Preheats(ctx context.Context) []api.Preheat
	CancelPreheat(ctx context.Context, id int64) (api.Preheat, error)
}

// ServePreheats answers gRPC requests for preheats. Whoever calls the handler has made
// sure that the client may ask.
func ServePreheats(d PreheatDesk) http.Handler {
	g := grpc.NewServer(grpc.MaxRecvMsgSize(preheatMessage))
	p2pdv1.RegisterPreheatServiceServer(g, preheatService{d: d})
	return g
}

type preheatService struct {
	p2pdv1.UnimplementedPreheatServiceServer
	d PreheatDesk
}

// CreatePreheat implements p2pdv1.PreheatServiceServer.
func (s preheatService) CreatePreheat(ctx context.Context, m *p2pdv1.CreatePreheatRequest) (*p2pdv1.CreatePreheatResponse, error) {
	r := api.PreheatRequest{
		Image: m.GetImage(), Platforms: m.GetPlatforms(), Scope: m.GetScope(), Count: int(m.GetCount()), Percentage: int(m.GetPercentage()),
		Nodes: m.GetNodes(), Zones: m.GetZones(), Selector: m.GetSelector(), Into: m.GetInto(),
	}
	if t := m.GetTimeout(); t != nil {
		if err := t.CheckValid(); err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "timeout: %v", err)
		}
		r.Timeout = t.AsDuration().String()
	}
	if c := m.GetCredential(); c != nil {
		r.Credential = &api.PreheatCredential{Username: c.GetUsername(), Password: c.GetPassword(), Token: c.GetToken()}
	}
	j, err := s.d.CreatePreheat(ctx, r)
	if err != nil {
		return nil, refusal(err)
	}
	return &p2pdv1.CreatePreheatResponse{Job: encodeJob(j)}, nil
}

// GetPreheat implements p2pdv1.PreheatServiceServer.
func (s preheatService) GetPreheat(ctx context.Context, m *p2pdv1.GetPreheatRequest) (*p2pdv1.GetPreheatResponse, error) {
	j, err := s.d.Preheat(ctx, m.GetId())
	if err != nil {
		return nil, refusal(err)
	}
	return &p2pdv1.GetPreheatResponse{Job: encodeJob(j)}, nil
}

// ListPreheats implements p2pdv1.PreheatServiceServer.
func (s preheatService) ListPreheats(ctx context.Context, _ *p2pdv1.ListPreheatsRequest) (*p2pdv1.ListPreheatsResponse, error) {
	r := new(p2pdv1.ListPreheatsResponse)
	for _, j := range s.d.Preheats(ctx) {
		r.Jobs = append(r.Jobs, encodeJob(j))
	}
	return r, nil
}

// CancelPreheat implements p2pdv1.PreheatServiceServer.
func (s preheatService) CancelPreheat(ctx context.Context, m *p2pdv1.CancelPreheatRequest) (*p2pdv1.CancelPreheatResponse, error) {
	j, err := s.d.CancelPreheat(ctx, m.GetId())
	if err != nil {
		return nil, refusal(err)
	}
	return &p2pdv1.CancelPreheatResponse{Job: encodeJob(j)}, nil
}

// refusal is an error in gRPC's words.
func refusal(err error) error {
	e, ok := errors.AsType[*api.Error](err)
	if !ok {
		return status.Error(codes.Internal, err.Error())
	}
	code := codes.Internal
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		code = codes.InvalidArgument
	case http.StatusForbidden:
		code = codes.PermissionDenied
	case http.StatusNotFound:
		code = codes.NotFound
	case http.StatusConflict:
		code = codes.FailedPrecondition
	case http.StatusTooManyRequests:
		code = codes.ResourceExhausted
	case http.StatusServiceUnavailable:
		code = codes.Unavailable
	}
	return status.Error(code, e.Error())
}

func encodeJob(j api.Preheat) *p2pdv1.PreheatJob {
	m := &p2pdv1.PreheatJob{
		Id: j.ID, Image: j.Image, Digest: j.Digest, Platforms: j.Platforms, Scope: j.Scope,
		Count: count32(j.Count), Percentage: count32(j.Percentage), Selector: j.Selector, Into: j.Into, State: j.State, Error: j.Error, Scheduler: j.Scheduler,
		Created: at(j.Created), Updated: at(j.Updated), Nodes: count32(j.Nodes), Done: count32(j.Done), Failed: count32(j.Failed),
		Bytes: j.Bytes, OfBytes: j.OfAll,
	}
	if j.Ended != nil {
		m.Ended = at(*j.Ended)
	}
	for _, n := range j.NodeItems {
		m.NodeItems = append(m.NodeItems, &p2pdv1.PreheatNode{
			Peer: n.Peer, Node: n.Node, Zone: n.Zone, Address: n.Address, State: n.State,
			Blobs: count32(n.Blobs), OfBlobs: count32(n.OfBlobs), Bytes: n.Bytes, OfBytes: n.OfBytes, FailedBlob: n.FailedBlob, Error: n.Error,
		})
	}
	return m
}

func at(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }

// count32 is a count as it is sent; there are none above.
func count32(n int) int32 { return int32(min(max(n, 0), math.MaxInt32)) } //nolint:gosec // within
