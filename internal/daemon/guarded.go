package daemon

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/p2pd/p2pd/internal/secret"
)

// ServerTLS is a listener's certificate, which may be replaced while it is used.
type ServerTLS struct {
	CertFile string `json:"certFile"`
	KeyFile  string `json:"keyFile"`
}

// guarded is a listener that more than this machine may reach, where each request
// shows a token.
type guarded struct {
	key       string // of the configuration, as preheat
	listen    string // empty: there is none
	tls       ServerTLS
	tokenFile string
}

// guarded checks a listener, and reports whether others reach it in the clear.
func (p *problems) guarded(g guarded) (exposed bool) {
	if (g.tls.CertFile == "") != (g.tls.KeyFile == "") {
		p.add(g.key+".tls.certFile", g.tls.CertFile, "and "+g.key+".tls.keyFile belong together; set both or none")
	}
	if g.listen == "" {
		return false
	}
	exposed = p.listen(g.key+".listen", g.listen) && !loopback(g.listen) && g.tls.CertFile == ""
	if g.tokenFile == "" {
		p.add(g.key+".tokenFile", "", "names no file, and "+g.key+".listen needs a token; name one that is to be made, such as /var/lib/p2pd-scheduler/"+g.key+".token")
	}
	return exposed
}

// open opens the listener; nil if there is none. What it needs is read once, so
// that what is wrong shows at once.
func (g guarded) open() (net.Listener, error) {
	if g.listen == "" {
		return nil, nil
	}
	if _, err := adminToken(g.tokenFile); err != nil {
		return nil, fmt.Errorf("%s.tokenFile: %w", g.key, err)
	}
	if _, err := g.tokens(); err != nil {
		return nil, err
	}
	if g.tls.CertFile != "" {
		if _, err := tls.LoadX509KeyPair(g.tls.CertFile, g.tls.KeyFile); err != nil {
			return nil, fmt.Errorf("%s.tls: %w", g.key, err)
		}
	}
	l, err := listenAt(g.key+".listen", g.listen)
	if err != nil || g.tls.CertFile == "" {
		return l, err
	}
	return tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS12, // Harbor's client has it
		NextProtos: []string{"http/1.1"},
		// Read at each handshake, of which there are few: certificates are
		// renewed.
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(g.tls.CertFile, g.tls.KeyFile)
			return &pair, err
		},
	}), nil
}

// tokens are those that are good now: the file is read at each request, so that one
// that is taken out of it is good no more. Empty lines and those that begin with # are
// none.
func (g guarded) tokens() (all []secret.Value, err error) {
	b, err := os.ReadFile(g.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("%s.tokenFile: %w", g.key, errors.Unwrap(err))
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if len(line) < tokenLeast {
			return nil, fmt.Errorf("%s.tokenFile: line %d has %d characters, which is no token; write at least %d", g.key, n, len(line), tokenLeast)
		}
		all = append(all, secret.New(line))
	}
	return all, nil
}
