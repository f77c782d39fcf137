package access

import (
	"context"
	"net/url"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
)

// Origin asks registries. internal/origin is the real one.
type Origin interface {
	// Ask sends one HEAD in the name of who, and says what was found. Where
	// the registry refuses it fails with a *Refusal: its Challenge is what
	// the registry answers to a request without any credential, or to the
	// one that was sent. Where it wants to be left alone, with a *BusyError.
	// Any other failure means that the registry could not be asked.
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
}

// Realms checks where clients are sent with their passwords.
type Realms interface {
	// Check fails if a registry must not send its clients to the URL, by
	// what its host resolves to.
	Check(ctx context.Context, registry string, realm *url.URL) error
}
