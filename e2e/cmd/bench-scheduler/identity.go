package main

import (
	"crypto/rand"
	"crypto/tls"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"

	"github.com/p2pd/p2pd/e2e/lab"
	"github.com/p2pd/p2pd/internal/rpc"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// card is a credential that outlives the benchmark.
type card []byte

// Card implements rpc.Pass.
func (c card) Card() []byte { return c }

// RenewAt implements rpc.Pass.
func (card) RenewAt() time.Time { return time.Now().Add(time.Hour) }

// Accept implements rpc.Pass.
func (card) Accept([]byte) error { return nil }

// Keep implements rpc.Pass.
func (card) Keep() error { return nil }

// newIdentity is a key, and what either end of a connection needs that proves it.
func newIdentity() (crypto.PrivKey, *tls.Config, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	identity, err := libp2ptls.NewIdentity(key)
	if err != nil {
		return nil, nil, err
	}
	config, _ := identity.ConfigForPeer("")
	return key, config, nil
}

// newMember is a peer that the lab's scheduler lets in.
func newMember(l *lab.Lab) (scheduler.PeerID, *rpc.Membership, error) {
	key, config, err := newIdentity()
	if err != nil {
		return "", nil, err
	}
	id, err := libpeer.IDFromPrivateKey(key)
	if err != nil {
		return "", nil, err
	}
	raw, err := l.Credential(id.String())
	if err != nil {
		return "", nil, err
	}
	return scheduler.PeerID(id.String()), &rpc.Membership{
		Certificate: config.Certificates[0], Scheduler: func(k any) bool { return l.Cluster().Equal(k) }, Pass: card(raw),
	}, nil
}
