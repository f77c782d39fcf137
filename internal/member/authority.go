package member

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// DefaultLife is how long a credential is good: peers know each other for
	// that long while no scheduler can be reached, less the half after which
	// they renew it.
	DefaultLife = 7 * 24 * time.Hour
	// leastLife keeps renewals rare.
	leastLife = time.Minute
)

// ErrNoReview says that a scheduler takes join tokens only.
var ErrNoReview = errors.New("this is not a join token, and the scheduler asks no platform about others (membership.mode is not kubernetes)")

// AuthorityConfig is what an Authority is made of. Key must be set; the zero
// value of each other field means its default.
type AuthorityConfig struct {
	Key  Key
	Life time.Duration // of credentials
	// Refused are tokens that let nobody in any more.
	Refused []TokenID
	// Bans keep peers out that have what else it takes. Nil: none.
	Bans *Bans
	// Review asks the platform whose token this is that is none of ours, and
	// which node it was given to; "" if the platform does not say. Nil refuses
	// such tokens.
	Review func(ctx context.Context, token string) (node string, err error)
}

// Authority decides who is a member. It keeps nothing but the key, so any
// scheduler of a cluster can stand in for another. Its methods may be called
// from many goroutines.
type Authority struct {
	cfg     AuthorityConfig
	public  Public
	refused map[TokenID]bool
}

// NewAuthority makes one.
func NewAuthority(cfg AuthorityConfig) *Authority {
	if cfg.Life <= 0 {
		cfg.Life = DefaultLife
	}
	cfg.Life = max(cfg.Life, leastLife)
	if cfg.Bans == nil {
		cfg.Bans = new(Bans)
	}
	a := &Authority{cfg: cfg, public: cfg.Key.Public(), refused: make(map[TokenID]bool)}
	for _, id := range cfg.Refused {
		a.refused[id] = true
	}
	return a
}

// Enrol gives a credential to a peer that has proven its ID. node is what it
// calls its machine; what its platform says is stronger. A peer that is banned
// gets none, whatever its token.
func (a *Authority) Enrol(ctx context.Context, peer, node, zone, token string) ([]byte, error) {
	now := time.Now()
	if err := a.cfg.Bans.Check(peer, now); err != nil {
		return nil, err
	}
	switch {
	case IsToken(token):
		if err := a.verify(token, now); err != nil {
			return nil, err
		}
	case a.cfg.Review == nil:
		return nil, ErrNoReview
	default:
		vouched, err := a.cfg.Review(ctx, token)
		if err != nil {
			return nil, err
		}
		if vouched != "" {
			node = vouched
		}
	}
	return a.cfg.Key.Sign(Credential{Peer: peer, Node: node, Zone: zone, Issued: now, Expires: now.Add(a.cfg.Life)})
}

func (a *Authority) verify(token string, now time.Time) error {
	t, err := ParseToken(token)
	if err != nil {
		return err
	}
	if err := a.cfg.Key.VerifyToken(t, now); err != nil {
		return err
	}
	if a.refused[t.ID] {
		return fmt.Errorf("%w: %s", ErrTokenRefused, t.ID)
	}
	return nil
}

// Admit says why a peer that has proven its ID and shows that credential is not let in.
func (a *Authority) Admit(peer string, raw []byte) error {
	c, err := a.public.OpenCredential(raw)
	if err != nil {
		return err
	}
	now := time.Now()
	if err := c.Check(peer, now); err != nil {
		return err
	}
	return a.cfg.Bans.Check(peer, now)
}
