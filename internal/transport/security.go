package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	tptu "github.com/libp2p/go-libp2p/p2p/net/upgrader"
)

// security is libp2p's TLS, spoken with an identity that may change and with
// members only. libp2p's own transport has one certificate for its life and
// shows nobody what is in the other side's.
type security struct {
	id       protocol.ID
	identity *identity
	self     libpeer.ID
	muxers   []string
}

var _ sec.SecureTransport = (*security)(nil)

// newSecurity is the constructor that libp2p.Security wants.
func newSecurity(i *identity) func(protocol.ID, []tptu.StreamMuxer) (*security, error) {
	return func(id protocol.ID, muxers []tptu.StreamMuxer) (*security, error) {
		self, err := libpeer.IDFromPrivateKey(i.key)
		if err != nil {
			return nil, err
		}
		s := &security{id: id, identity: i, self: self}
		for _, m := range muxers {
			s.muxers = append(s.muxers, string(m.ID))
		}
		return s, nil
	}
}

// ID implements sec.SecureTransport.
func (s *security) ID() protocol.ID { return s.id }

// SecureInbound implements sec.SecureTransport.
func (s *security) SecureInbound(ctx context.Context, insecure net.Conn, p libpeer.ID) (sec.SecureConn, error) {
	return s.secure(ctx, insecure, p, tls.Server)
}

// SecureOutbound implements sec.SecureTransport. Whether the other side lets
// this one in shows with the first read only: so TLS 1.3 is.
func (s *security) SecureOutbound(ctx context.Context, insecure net.Conn, p libpeer.ID) (sec.SecureConn, error) {
	return s.secure(ctx, insecure, p, tls.Client)
}

func (s *security) secure(ctx context.Context, insecure net.Conn, p libpeer.ID, side func(net.Conn, *tls.Config) *tls.Conn) (sec.SecureConn, error) {
	c, err := s.handshake(ctx, insecure, p, side)
	if err != nil {
		insecure.Close()
		return nil, err
	}
	return c, nil
}

func (s *security) handshake(ctx context.Context, insecure net.Conn, p libpeer.ID, side func(net.Conn, *tls.Config) *tls.Conn) (*secured, error) {
	config, proven, err := s.identity.config(p)
	if err != nil {
		return nil, err
	}
	// The muxer is agreed on in the handshake, which saves a round trip; all
	// peers speak the same one.
	config.NextProtos = append(append([]string(nil), s.muxers...), config.NextProtos...)
	conn := side(insecure, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	key := <-proven // the handshake has put it there
	remote, err := libpeer.IDFromPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("peer certificate: %w", err)
	}
	c := &secured{Conn: conn, self: s.self, remote: remote, key: key}
	for _, m := range s.muxers {
		if conn.ConnectionState().NegotiatedProtocol == m {
			c.state = network.ConnectionState{StreamMultiplexer: protocol.ID(m), UsedEarlyMuxerNegotiation: true}
		}
	}
	return c, nil
}

// secured is a connection with a member.
type secured struct {
	*tls.Conn
	self, remote libpeer.ID
	key          crypto.PubKey
	state        network.ConnectionState
}

var _ sec.SecureConn = (*secured)(nil)

// LocalPeer implements sec.SecureConn.
func (c *secured) LocalPeer() libpeer.ID { return c.self }

// RemotePeer implements sec.SecureConn.
func (c *secured) RemotePeer() libpeer.ID { return c.remote }

// RemotePublicKey implements sec.SecureConn.
func (c *secured) RemotePublicKey() crypto.PubKey { return c.key }

// ConnState implements sec.SecureConn.
func (c *secured) ConnState() network.ConnectionState { return c.state }
