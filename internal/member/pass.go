package member

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

// maxKnown bounds how many peers' credentials a Pass remembers: far above the
// connections that a node may have. Past it those are forgotten first that
// have expired, then any; who is forgotten proves itself again.
const maxKnown = 32 << 10

// Pass is one node's membership: its own credential, kept in a file, and what
// it knows of others'. Its methods may be called from many goroutines and do
// not block but on the file.
type Pass struct {
	cluster Public
	peer    string
	file    string
	bans    Bans

	mu    sync.Mutex // guards what follows
	raw   []byte     // nil: none yet
	own   Credential
	known map[string]time.Time // peers that showed a good credential, and until when it is
}

// OpenPass makes the pass of a peer, with the credential that the file has if
// it is still good. A file that is missing, or holds something else, is no
// error: a new credential will be asked for.
func OpenPass(cluster Public, peer, file string) (*Pass, error) {
	p := &Pass{
		cluster: cluster, peer: peer, file: file,
		known: make(map[string]time.Time),
	}
	raw, err := readFile(file, true, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	if c, err := cluster.OpenCredential(raw); err == nil && c.Check(peer, time.Now()) == nil {
		p.raw, p.own = raw, c
	}
	return p, nil
}

// Card is this node's credential to show to others; nil if it has none that is
// good. The caller does not change it.
func (p *Pass) Card() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.raw == nil || p.own.Check(p.peer, time.Now()) != nil {
		return nil
	}
	return p.raw
}

// RenewAt is when to ask for a new credential; a time that has passed if there
// is none.
func (p *Pass) RenewAt() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.raw == nil {
		return time.Time{}
	}
	return p.own.RenewAt()
}

// Own is this node's credential; zero if it has none.
func (p *Pass) Own() Credential {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.own
}

// Accept takes a new credential of this node's; it fails if that is no good.
func (p *Pass) Accept(raw []byte) error {
	c, err := p.cluster.OpenCredential(raw)
	if err == nil {
		err = c.Check(p.peer, time.Now())
	}
	if err != nil {
		return fmt.Errorf("the scheduler's credential for this peer: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.raw, p.own = raw, c
	return nil
}

// Keep writes the credential to the file, where OpenPass finds it.
func (p *Pass) Keep() error {
	card := p.Card()
	if card == nil {
		return fmt.Errorf("keep the credential: %w", ErrNoCredential)
	}
	if err := os.MkdirAll(filepath.Dir(p.file), 0o700); err != nil {
		return fmt.Errorf("keep the credential: %w", err)
	}
	if err := renameio.WriteFile(p.file, card, 0o600); err != nil {
		return fmt.Errorf("keep the credential: %w", err)
	}
	return nil
}

// Check says why a peer that has proven its ID and shows card is not let in.
func (p *Pass) Check(peer string, card []byte) error {
	c, err := p.cluster.OpenCredential(card)
	if err != nil {
		return err
	}
	now := time.Now()
	if err := c.Check(peer, now); err != nil {
		return err
	}
	if err := p.bans.Check(peer, now); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	makeRoom(p.known, peer, maxKnown, func(until time.Time) bool { return !now.Before(until) })
	p.known[peer] = c.Expires
	return nil
}

// Admit says why a peer has no business here: it was never checked, its
// credential has expired since, or it has been banned.
func (p *Pass) Admit(peer string) error {
	now := time.Now()
	if err := p.bans.Check(peer, now); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	until, ok := p.known[peer]
	switch {
	case !ok:
		return ErrNoCredential
	case !now.Before(until):
		return ErrExpired
	}
	return nil
}

// Banned says why a peer must not even be dialled.
func (p *Pass) Banned(peer string) error { return p.bans.Check(peer, time.Now()) }

// Ban heeds a scheduler's word on a peer, unless a later one is known. What cannot be a
// word is not heeded.
func (p *Pass) Ban(word Ban) error {
	_, err := p.bans.Merge(word, time.Now())
	return err
}
