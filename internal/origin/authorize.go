package origin

import (
	"context"
	"fmt"
	"time"

	"github.com/p2pd/p2pd/internal/secret"
)

// Known is the one name of a registry that is allowed, and whether it is reached
// without TLS. It fails with *UnknownRegistryError.
func (o *Origin) Known(host string) (name string, plain bool, err error) {
	up, err := o.upstream(host)
	if err != nil {
		return "", false, err
	}
	for _, e := range up.endpoints {
		plain = plain || e.url.Scheme == "http"
	}
	return up.host, plain, nil
}

// Authorize trades a login for the value of an Authorization header that is good to
// pull from one repository: a token where the registry wants one, which ends by
// itself, or else the login itself. It is zero where the registry asks for nothing.
// Nothing of it is remembered.
func (o *Origin) Authorize(ctx context.Context, host, repo, username string, password secret.Value) (secret.Value, error) {
	up, err := o.upstream(host)
	if err != nil {
		return secret.Value{}, err
	}
	if err := checkRepository(repo); err != nil {
		return secret.Value{}, err
	}
	for _, e := range up.inOrder(time.Now()) {
		s := &session{
			o: o, up: up, endpoint: e, scope: "repository:" + repo + ":pull", turn: make(chan struct{}, 1),
			node: login{username: username, password: password},
		}
		limited, cancel := context.WithTimeoutCause(ctx, o.cfg.HeaderTimeout, errSlowHandshake)
		err = s.begin(limited)
		cancel()
		if err == nil {
			return s.header, nil
		}
		if ctx.Err() != nil || !unavailable(err) {
			break
		}
	}
	return secret.Value{}, fmt.Errorf("log in to %s for %s: %w", up.host, repo, hushed(err))
}
