package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/internal/web"
)

// openHooks opens the listener where registries ask for preheats; nil if there is
// none. What it needs is read once, so that what is wrong shows at once.
func (c PreheatConfig) openHooks() (net.Listener, error) {
	if c.Listen == "" {
		return nil, nil
	}
	if _, err := adminToken(c.TokenFile); err != nil {
		return nil, fmt.Errorf("preheat.tokenFile: %w", err)
	}
	if _, err := c.tokens(); err != nil {
		return nil, err
	}
	if c.TLS.CertFile != "" {
		if _, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile); err != nil {
			return nil, fmt.Errorf("preheat.tls: %w", err)
		}
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("preheat.listen: %w", err)
	}
	if c.TLS.CertFile == "" {
		return l, nil
	}
	return tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS12, // Harbor's client has it
		NextProtos: []string{"http/1.1"},
		// Read at each handshake, of which there are few: certificates are
		// renewed.
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
			return &pair, err
		},
	}), nil
}

// tokens are those that are good now: the file is read at each request, so that one
// that is taken out of it is good no more. Empty lines and those that begin with # are
// none.
func (c PreheatConfig) tokens() (all []secret.Value, err error) {
	b, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("preheat.tokenFile: %w", errors.Unwrap(err))
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if len(line) < tokenLeast {
			return nil, fmt.Errorf("preheat.tokenFile: line %d has %d characters, which is no token; write at least %d", n, len(line), tokenLeast)
		}
		all = append(all, secret.New(line))
	}
	return all, nil
}

// hooked answers registries until ctx ends.
func (h *Hub) hooked(ctx context.Context) error {
	h.log.Info("answering registries", "listen", h.hooksL.Addr().String())
	return serveAdmin(ctx, h.hooksL, web.NewHooks(web.HooksConfig{
		Guard: web.ByTokens(h.cfg.Preheat.tokens), Desk: h.desk, Rules: h.cfg.Preheat.Rules, Logger: h.log,
	}))
}
