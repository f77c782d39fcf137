package access

import (
	"context"
	"time"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
)

// Origin asks registries. internal/origin is the real one.
type Origin interface {
	// Ask sends one HEAD in the name of who, and says what was found. Where
	// the registry refuses it fails with a *DeniedError. Where it wants to be
	// left alone, with a *BusyError. Any other failure means that the
	// registry could not be asked.
	Ask(ctx context.Context, who Caller, q Question) (Found, error)
}

// Caller is in whose name the origin is asked. It holds the client's
// credential: whoever gets one sends it to that registry and keeps nothing.
type Caller struct {
	Identity Identity
	// Authorization is the header to send; zero unless Identity is Client.
	Authorization secret.Value
}

// Found is what a HEAD tells. Digest is set, for a Tag; Size is negative and
// MediaType empty where the origin did not say.
type Found struct {
	Digest    piece.Digest
	Size      int64
	MediaType string
	// Stale is how old the answer is, where the registry could not be asked
	// and its last answer for the Tag, to anybody, is repeated; else 0.
	Stale time.Duration
}

// DeniedError is a registry's refusal as it came, but for its challenge.
type DeniedError struct {
	Status int
	// Challenge is what the registry answers to a request without any
	// credential, or with the one that was sent: checked, so that it sends
	// a client with its password to no place but the registry's own token
	// server. Zero if it has none, or none that is fit.
	Challenge Challenge
	// Body is what it said, if that is JSON; where a HEAD hid it, what it
	// says to a GET. It may be empty.
	Body []byte
	// Reason says it in words.
	Reason string
}

func (d *DeniedError) Error() string { return d.Reason }
