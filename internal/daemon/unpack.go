package daemon

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/p2pd/p2pd/internal/cri"
	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
)

// unpacking is the container runtime at a socket, as an agent sees it. It is
// connected to for each image: there are few, and the runtime may have been started
// anew between two.
type unpacking struct{ socket string }

// Pull implements preheat.Runtime.
func (u unpacking) Pull(ctx context.Context, image string, login secret.Value) ([]piece.Digest, error) {
	c, err := cri.Dial(u.socket)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", u.socket, err)
	}
	defer c.Close()
	if err := c.Fetch(ctx, image, authn.AuthConfig{Auth: login.Reveal()}); err != nil {
		return nil, err
	}
	held, names, err := c.Held(ctx, image)
	if err != nil || !held {
		return nil, err
	}
	var all []piece.Digest
	for _, name := range names {
		_, text, _ := strings.Cut(name, "@")
		if d, err := piece.ParseDigest(text); err == nil { // of another algorithm it is none of ours
			all = append(all, d)
		}
	}
	return all, nil
}
