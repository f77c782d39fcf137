package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/p2pd/p2pd/internal/egress"
	"github.com/p2pd/p2pd/internal/secret"
)

// access returns the handshake with an endpoint for q's repository.
func (o *Origin) access(ctx context.Context, up *upstream, e *endpoint, q request) (*access, error) {
	key := accessKey{e.url.String(), q.repo, q.as != nil}
	return o.accesses.get(ctx, key, func(ctx context.Context) (*http.Client, error) {
		return o.handshake(ctx, up, e, key)
	})
}

// handshake asks the registry what it wants to know of us, fetches a token if
// it wants one, and returns a client that sends and renews it.
func (o *Origin) handshake(ctx context.Context, up *upstream, e *endpoint, key accessKey) (*http.Client, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.cfg.HeaderTimeout, errSlowHandshake)
	defer cancel()
	o.stats.handshakes.Add(1)
	attempt := "handshake with " + e.url.Host + " for " + key.repo
	s := &session{o: o, up: up, endpoint: e, scope: "repository:" + key.repo + ":pull", turn: make(chan struct{}, 1)}
	err := s.credentials(ctx, key)
	if err == nil {
		err = s.begin(ctx)
	}
	if err != nil {
		if _, refusal := errors.AsType[*refused](err); !refusal && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("%s: %w", attempt, hushed(err))
	}
	return &http.Client{Transport: s, CheckRedirect: egress.CheckRedirect}, nil
}

// credentials looks up what the node may show.
func (s *session) credentials(ctx context.Context, key accessKey) error {
	if key.anonymous {
		return nil
	}
	var strictness []name.Option
	if s.endpoint.url.Scheme == "http" {
		strictness = append(strictness, name.Insecure)
	}
	host := connectTo(s.up.host) // credentials are for the name in images, wherever that is reached
	reg, err := name.NewRegistry(host, append(strictness, name.StrictValidation)...)
	if err != nil {
		return err
	}
	auth, err := authn.Resolve(ctx, s.o.cfg.Keychain, reg.Repo(key.repo))
	if err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	if s.node, err = authorization(ctx, auth); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	return nil
}

// begin pings the registry, and answers its challenge.
func (s *session) begin(ctx context.Context) error {
	u := *s.endpoint.url
	u.Path = "/v2/"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: s.o.wire, CheckRedirect: egress.CheckRedirect}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		drain(resp)
		return nil
	case http.StatusUnauthorized:
		drain(resp)
		c, err := s.o.challengeOf(ctx, s.up, s.endpoint, resp.Header.Values("WWW-Authenticate"))
		if err != nil {
			return err
		}
		return s.answer(ctx, c)
	}
	return refusal(resp, "")
}

// drain reads what little there is, so that the connection can be used again.
func drain(r *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxErrorBody))
	_ = r.Body.Close()
}

// session is a handshake's outcome: a transport that shows a registry what it
// wants to see, and nobody else.
type session struct {
	o        *Origin
	up       *upstream
	endpoint *endpoint
	scope    string
	node     login // the node's credentials, if there are any and they may be used

	turn   chan struct{} // holds one: whoever reads or writes what follows
	header secret.Value  // Authorization; zero for none
}

// RoundTrip implements http.RoundTripper. A token that is no longer taken is
// renewed once.
func (s *session) RoundTrip(r *http.Request) (*http.Response, error) {
	if !sameHost(r.URL, s.endpoint.url) {
		return s.o.wire.RoundTrip(r) // a redirect led away
	}
	sent, err := s.authorization(r.Context())
	if err != nil {
		return nil, err
	}
	resp, err := s.o.wire.RoundTrip(authorized(r, sent))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	c, err := s.o.challengeOf(r.Context(), s.up, s.endpoint, resp.Header.Values("WWW-Authenticate"))
	if err != nil || c.Scheme != "Bearer" {
		return resp, nil //nolint:nilerr // the refusal itself is what is told
	}
	drain(resp)
	fresh, err := s.renew(r.Context(), sent, c)
	if err != nil {
		return nil, err
	}
	return s.o.wire.RoundTrip(authorized(r, fresh))
}

// authorized is r with an Authorization; r itself is left as it is.
func authorized(r *http.Request, v secret.Value) *http.Request {
	if v.IsZero() {
		return r
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", v.Reveal())
	return r
}

func (s *session) lock(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *session) authorization(ctx context.Context) (secret.Value, error) {
	if err := s.lock(ctx); err != nil {
		return secret.Value{}, err
	}
	defer func() { <-s.turn }()
	return s.header, nil
}

// renew answers c unless somebody has since old was sent.
func (s *session) renew(ctx context.Context, old secret.Value, c Challenge) (secret.Value, error) {
	if err := s.lock(ctx); err != nil {
		return secret.Value{}, err
	}
	defer func() { <-s.turn }()
	if !s.header.Equal(old) {
		return s.header, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.cfg.HeaderTimeout, errSlowHandshake)
	defer cancel()
	err := s.answer(ctx, c)
	return s.header, err
}

// answer sets the header that a challenge asks for.
func (s *session) answer(ctx context.Context, c Challenge) error {
	switch {
	case !s.node.token.IsZero() && c.Scheme == "Bearer":
		s.header = secret.New("Bearer " + s.node.token.Reveal())
	case c.Scheme == "Bearer":
		token, err := s.token(ctx, c)
		if err != nil {
			return err
		}
		s.header = secret.New("Bearer " + token)
	case c.Scheme == "Basic" && s.node.username != "":
		s.header = s.node.basic()
	}
	return nil
}

// basic is an Authorization with username and password.
func (l login) basic() secret.Value {
	r := http.Request{Header: make(http.Header)}
	r.SetBasicAuth(l.username, l.password.Reveal())
	return secret.New(r.Header.Get("Authorization"))
}

// hushed keeps what a registry refused, and takes what is nobody's business
// out of all other errors.
func hushed(err error) error {
	if _, ok := errors.AsType[*refused](err); ok {
		return err
	}
	return &quiet{err}
}
