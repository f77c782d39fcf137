package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	libpeer "github.com/libp2p/go-libp2p/core/peer"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/p2pd/p2pd/internal/member"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// A closed cluster's scheduler speaks TLS only. Peers know it by its key;
// it knows them by their libp2p certificates, so that whatever comes over a
// connection comes from one proven peer ID. Beside each call a peer shows the
// credential that binds this ID to the cluster. Without one it may do nothing
// but enrol.

// credentialKey is the metadata that has the caller's credential.
const credentialKey = "p2pd-credential-bin" //nolint:gosec // a name

// Warden decides who is let in. *member.Authority is one. It is called from many
// goroutines.
type Warden interface {
	// Enrol gives a credential to a peer that has proven its ID.
	Enrol(ctx context.Context, peer, node, zone, token string) (credential []byte, err error)
	// Admit says why a peer that has proven its ID is not let in with that
	// credential.
	Admit(peer string, credential []byte) error
}

// Guard closes a scheduler to strangers.
type Guard struct {
	// Certificate is what peers are shown; they pin its key.
	Certificate tls.Certificate
	Warden      Warden
}

// unsure is an error of a Warden that could not find out now.
type unsure interface {
	error
	Unsure() bool
}

// options are what a guarded server has besides.
func (g *Guard) options() []grpc.ServerOption {
	if g == nil {
		return nil
	}
	return []grpc.ServerOption{
		grpc.Creds(proving{credentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{g.Certificate},
			// libp2p's certificates sign themselves; proving reads them.
			ClientAuth:             tls.RequireAnyClientCert,
			SessionTicketsDisabled: true,
		})}),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if err := g.pass(ctx, info.FullMethod); err != nil {
				return nil, err
			}
			return next(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if err := g.pass(s.Context(), info.FullMethod); err != nil {
				return err
			}
			return next(srv, s)
		}),
	}
}

// open are the methods that need no credential: they tell nothing of the
// cluster.
var open = map[string]bool{
	p2pdv1.MembershipService_Enrol_FullMethodName: true,
	healthpb.Health_Check_FullMethodName:          true,
}

// pass says why a call is not let through. Methods that are not named above
// need a credential, those that will be added too.
func (g *Guard) pass(ctx context.Context, method string) error {
	id, err := provenPeer(ctx)
	if err != nil {
		return status.Error(codes.Unauthenticated, err.Error())
	}
	if open[method] {
		return nil
	}
	var shown string
	if v := metadata.ValueFromIncomingContext(ctx, credentialKey); len(v) == 1 {
		shown = v[0]
	}
	if err := g.Warden.Admit(string(id), []byte(shown)); err != nil {
		code := codes.Unauthenticated
		if errors.Is(err, member.ErrBanned) {
			code = codes.PermissionDenied // another credential would not help
		}
		return status.Error(code, err.Error())
	}
	return nil
}

// proven is what a connection is known by.
type proven struct {
	credentials.CommonAuthInfo
	id scheduler.PeerID
}

// AuthType implements credentials.AuthInfo.
func (proven) AuthType() string { return "libp2p" }

// provenPeer is who is at the other end of a guarded server's connection.
func provenPeer(ctx context.Context) (scheduler.PeerID, error) {
	p, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return "", errors.New("nobody is known to be at the other end")
	}
	who, ok := p.AuthInfo.(proven)
	if !ok {
		return "", errors.New("the connection proves nobody's identity")
	}
	return who.id, nil
}

// proving is TLS whose handshake fails unless the client's certificate proves a
// peer ID. Of the certificate nothing else is kept: ten thousand of them are
// many bytes.
type proving struct {
	credentials.TransportCredentials
}

// ServerHandshake implements credentials.TransportCredentials.
func (p proving) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := p.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	id, err := peerOf(info)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, proven{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, id: id}, nil
}

// Clone implements credentials.TransportCredentials.
func (p proving) Clone() credentials.TransportCredentials {
	return proving{p.TransportCredentials.Clone()}
}

func peerOf(info credentials.AuthInfo) (scheduler.PeerID, error) {
	t, ok := info.(credentials.TLSInfo)
	if !ok {
		return "", fmt.Errorf("connection of type %q proves nothing", info.AuthType())
	}
	key, err := libp2ptls.PubKeyFromCertChain(t.State.PeerCertificates)
	if err != nil {
		return "", fmt.Errorf("peer certificate: %w", err)
	}
	id, err := libpeer.IDFromPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("peer certificate: %w", err)
	}
	return scheduler.PeerID(id.String()), nil
}

// speaksFor says why the connection of ctx may not speak for that peer. On an
// open scheduler anybody may.
func (g *Guard) speaksFor(ctx context.Context, id scheduler.PeerID) error {
	if g == nil {
		return nil
	}
	who, err := provenPeer(ctx)
	if err == nil && who != id {
		err = fmt.Errorf("hello of peer %s over a connection of peer %s", id, who)
	}
	if err != nil {
		return status.Error(codes.Unauthenticated, err.Error())
	}
	return nil
}

// enrolment serves MembershipService.
type enrolment struct {
	p2pdv1.UnimplementedMembershipServiceServer
	s *Server
}

// maxToken bounds what may be shown as a token: platforms' have some kilobytes.
const maxToken = 16 << 10

// Enrol implements p2pdv1.MembershipServiceServer.
func (e enrolment) Enrol(ctx context.Context, r *p2pdv1.EnrolRequest) (*p2pdv1.EnrolResponse, error) {
	id, err := provenPeer(ctx)
	if err != nil {
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	if len(r.GetToken()) > maxToken || len(r.GetNode()) > maxName || len(r.GetZone()) > maxName {
		return nil, status.Errorf(codes.InvalidArgument, "token of %d bytes, node of %d, zone of %d; at most %d, %d and %d are allowed",
			len(r.GetToken()), len(r.GetNode()), len(r.GetZone()), maxToken, maxName, maxName)
	}
	credential, err := e.s.cfg.Guard.Warden.Enrol(ctx, string(id), r.GetNode(), r.GetZone(), r.GetToken())
	if err != nil {
		e.s.refused.Add(1)
		e.s.log.Warn("peer is not enrolled", "peer", id, "node", r.GetNode(), "err", err)
		code := codes.PermissionDenied
		if u, ok := errors.AsType[unsure](err); ok && u.Unsure() {
			code = codes.Unavailable
		}
		return nil, status.Error(code, err.Error())
	}
	e.s.enrolled.Add(1)
	e.s.log.Info("peer enrolled", "peer", id, "node", r.GetNode(), "zone", r.GetZone())
	return &p2pdv1.EnrolResponse{Credential: credential}, nil
}
