package origin

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/p2pd/p2pd/internal/egress"
	"github.com/p2pd/p2pd/pkg/piece"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; nothing that works comes near it.
const patience = 20 * time.Second

// Hosts of the lab. The certificate of httptest is good for them.
const (
	registryHost = "registry.example.com"
	tokenHost    = "token.example.com"
	storageHost  = "storage.example.com"
	repo         = "team/app"
)

// lab is a network in which every host is a server on loopback, reached by
// its name at any port.
type lab struct {
	t       *testing.T
	servers map[string]*httptest.Server
	roots   string // a file with the certificate of all that serve TLS; empty for none

	mu   sync.Mutex // guards what follows
	seen []seen
	// conns counts the connections that were dialled.
	conns int
}

// seen is what a server was asked.
type seen struct {
	host, method, path, query, proto string
	header                           http.Header
}

func newLab(t *testing.T) *lab {
	return &lab{t: t, servers: make(map[string]*httptest.Server)}
}

// serve adds a host that speaks plain HTTP.
func (l *lab) serve(host string, h http.Handler) { l.start(host, h, (*httptest.Server).Start) }

// serveTLS adds a host that speaks HTTPS, and HTTP/2 if asked to.
func (l *lab) serveTLS(host string, http2 bool, h http.Handler) {
	l.start(host, h, func(s *httptest.Server) {
		s.EnableHTTP2 = http2
		s.StartTLS()
		l.roots = filepath.Join(l.t.TempDir(), "ca.pem") // httptest has one certificate for all
		b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
		if err := os.WriteFile(l.roots, b, 0o600); err != nil {
			l.t.Fatal(err)
		}
	})
}

func (l *lab) start(host string, h http.Handler, start func(*httptest.Server)) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.seen = append(l.seen, seen{host, r.Method, r.URL.Path, r.URL.RawQuery, r.Proto, r.Header.Clone()})
		l.mu.Unlock()
		h.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // broken clients are wanted
	start(s)
	l.servers[host] = s
	l.t.Cleanup(s.Close)
}

// origin makes an Origin inside the lab; without registries it is given
// registryHost by http.
func (l *lab) origin(cfg Config) *Origin {
	l.t.Helper()
	if cfg.Registries == nil {
		cfg.Registries = []Registry{{Host: registryHost, Endpoint: "http://" + registryHost}}
	}
	for i := range cfg.Registries {
		cfg.Registries[i].TLS.CAFile = l.roots
		cfg.Registries[i].TokenHosts = append(cfg.Registries[i].TokenHosts, tokenHost)
	}
	o, err := newOrigin(cfg, egress.Config{Dial: l.dial, Proxy: direct})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(o.CloseIdle)
	return o
}

// direct is no proxy, whatever the environment says.
func direct(*http.Request) (*url.URL, error) { return nil, nil }

func (l *lab) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, _ := splitPort(address)
	s := l.servers[host]
	if s == nil {
		return nil, fmt.Errorf("no host %s in the lab", host)
	}
	l.mu.Lock()
	l.conns++
	l.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
}

// asked returns what a host was asked, but for pings.
func (l *lab) asked(host string) []seen {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []seen
	for _, s := range l.seen {
		if s.host == host && s.path != "/v2/" {
			out = append(out, s)
		}
	}
	return out
}

// pings is how often a host was pinged.
func (l *lab) pings(host string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.seen {
		if s.host == host && s.path == "/v2/" {
			n++
		}
	}
	return n
}

// dialled is how many connections were made.
func (l *lab) dialled() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns
}

// open is a registry without a handshake: h answers all but pings.
func open(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			h(w, r)
		}
	})
}

// ranged serves content with ranges.
func ranged(content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
}

// raw writes an answer as it stands and closes the connection.
func raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = buf.WriteString(strings.ReplaceAll(answer, "\n", "\r\n"))
		_ = buf.Flush()
	}
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// read reads [off, off+n) of the blob d.
func read(t *testing.T, o *Origin, d piece.Digest, off, n int64) (content []byte, size int64, err error) {
	t.Helper()
	src, err := o.Blob(registryHost, repo, d)
	if err != nil {
		t.Fatal(err)
	}
	body, size, err := src.Read(deadline(t), off, n)
	if err != nil {
		return nil, 0, err
	}
	defer body.Close()
	content, err = io.ReadAll(body)
	return content, size, err
}

// some is content of n bytes that does not repeat soon.
func some(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	return b
}

// until waits for a condition that others bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("gave up waiting: %s", what)
		}
	}
}
