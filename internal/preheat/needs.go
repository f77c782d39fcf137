package preheat

import (
	"context"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Registries are those that a scheduler may look images up at. Where as is zero,
// that is by its own right.
type Registries interface {
	// Known is the one name of a registry that may be looked at, and whether it is
	// reached without TLS; else why not, and what to configure.
	Known(host string) (name string, plain bool, err error)
	// Authorize trades a login for the value of an Authorization header that is
	// good to pull from one repository.
	Authorize(ctx context.Context, host, repo, username string, password secret.Value) (secret.Value, error)
	Resolve(ctx context.Context, host, repo, tag string, as secret.Value) (piece.Digest, error)
	// Manifest reads a manifest. Its digest has not been checked.
	Manifest(ctx context.Context, host, repo string, d piece.Digest, as secret.Value) ([]byte, error)
}

// Peers are those that are attached to this scheduler. *rpc.Server is one.
type Peers interface {
	Peers(ctx context.Context) ([]scheduler.Peer, error)
	// Pass sends decisions. Those for peers that are gone are lost.
	Pass(ds []scheduler.Decision)
}

// Labels are those that the platform gives nodes. *kubernetes.Client has them.
type Labels interface {
	// NodesWith are the names of the nodes that a selector fits, sorted. An error that
	// has an HTTPStatus in it is what the platform has answered; with any other it has
	// not.
	NodesWith(ctx context.Context, selector string) ([]string, error)
}

// Want is a blob that an Agent is asked for, and how it may be read.
type Want struct {
	Registry, Repository string
	scheduler.PreheatBlob
	Authorization secret.Value // zero: the node's own right
}

// Engine is a node's engine and its registries.
type Engine interface {
	// Fetch brings a blob into the store, behind what readers want, and returns
	// once it is there.
	Fetch(ctx context.Context, w Want) error
	// Fetched is how many bytes of it are here.
	Fetched(w Want) int64
	// Busy reports whether anybody on this node waits for what it fetches.
	Busy() bool
}

// Runtime is a node's container runtime.
type Runtime interface {
	// Pull has it pull and unpack an image, and returns once that is done, with the
	// digests that the image's name stands for then. login is USER:PASSWORD in
	// base64; zero: the runtime's own right.
	Pull(ctx context.Context, image string, login secret.Value) ([]piece.Digest, error)
}
