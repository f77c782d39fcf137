package origin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/p2pd/p2pd/internal/egress"
)

// maxToken bounds a token server's answer. Tokens are a few kB; some name
// every group that a user is in.
const maxToken = 64 << 10

// token fetches a token for the session's scope: with the node's credentials if
// there are any, else as anybody. Credentials go to the realm, which has been
// checked, and nowhere else: redirects are refused.
func (s *session) token(ctx context.Context, c Challenge) (string, error) {
	if !s.node.identity.IsZero() {
		token, err := s.tokenByPost(ctx, c)
		if !refusedWith(err, http.StatusNotFound, http.StatusMethodNotAllowed) {
			return token, err
		} // not every token server knows OAuth 2
	}
	u, err := url.Parse(c.Realm)
	if err != nil {
		return "", err
	}
	query := u.Query()
	query.Set("scope", s.scope)
	if c.Service != "" {
		query.Set("service", c.Service)
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	if s.node.username != "" {
		req = authorized(req, s.node.basic())
	}
	return s.fetchToken(req)
}

// tokenByPost trades an identity token in.
func (s *session) tokenByPost(ctx context.Context, c Challenge) (string, error) {
	form := url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {s.node.identity.Reveal()},
		"service": {c.Service}, "scope": {s.scope}, "client_id": {"p2pd"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Realm, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.fetchToken(req)
}

// fetchToken sends a request to a token server. Of its answer nothing is told
// but a refusal.
func (s *session) fetchToken(req *http.Request) (string, error) {
	client := &http.Client{Transport: s.o.wire, CheckRedirect: func(to *http.Request, via []*http.Request) error {
		if err := egress.CheckRedirect(to, via); err != nil {
			return err
		}
		return errors.New("redirect of a token server refused")
	}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", refusal(resp, "")
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxToken+1))
	if err != nil {
		return "", err
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if len(b) > maxToken || json.Unmarshal(b, &answer) != nil {
		return "", fmt.Errorf("there is no token in the answer of %s", req.URL.Host)
	}
	token := answer.AccessToken
	if token == "" {
		token = answer.Token
	}
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("there is no token in the answer of %s", req.URL.Host)
	}
	return token, nil
}
