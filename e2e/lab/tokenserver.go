package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	tokenPort    = 5701
	tokenService = "lab-registry"
	tokenIssuer  = "lab"
	tokenKey     = "k1"
	// tokenLife is what registries give at least.
	tokenLife = 5 * time.Minute
)

// TokenServer gives tenants the Bearer tokens that a registry wants to see, as
// a GET with a Basic login or as OAuth's password grant. Whoever shows no
// password gets a token too, good for what is public.
type TokenServer struct {
	Realm string

	tenants []Tenant
	keys    string // path of the key set that registries read
	key     *ecdsa.PrivateKey

	mu     sync.Mutex // guards what follows
	issued []string
	// linkLocal counts connections to addresses where nobody should be sent.
	linkLocal int
}

// StartTokenServer starts one at the origin's place, at all its addresses.
func (l *Lab) StartTokenServer(ctx context.Context, tenants ...Tenant) (*TokenServer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the token server's key: %w", err)
	}
	s := &TokenServer{
		Realm: "http://" + l.Net.Origin.At(tokenPort) + "/token", tenants: tenants,
		keys: filepath.Join(l.Dir, "jwks.json"), key: key,
	}
	if err := s.writeKeys(); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/token", s)
	everywhere := l.Net.Origin
	everywhere.Addr = netip.IPv4Unspecified()
	return s, l.serve(ctx, everywhere, tokenPort, &http.Server{Handler: mux, ConnState: s.connected})
}

// Host is where the realm is.
func (s *TokenServer) Host() string {
	return strings.TrimSuffix(strings.TrimPrefix(s.Realm, "http://"), "/token")
}

// serve runs a server of this process at a place until the lab's end.
func (l *Lab) serve(ctx context.Context, p Place, port int, server *http.Server) error {
	listener, err := p.Listen(ctx, p.At(port))
	if err != nil {
		return fmt.Errorf("serve at %s: %w", p.Name, err)
	}
	server.ReadHeaderTimeout = readyTimeout
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	l.OnClose(func(context.Context) error {
		err := server.Close()
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	})
	return nil
}

// writeKeys writes the public key as a JSON web key set (RFC 7517).
func (s *TokenServer) writeKeys() error {
	point, err := s.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return fmt.Errorf("encode the token server's key: %w", err)
	}
	set, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "EC", "use": "sig", "alg": "ES256", "kid": tokenKey, "crv": "P-256", "x": encoded(point[1:33]), "y": encoded(point[33:]),
	}}})
	if err == nil {
		err = os.WriteFile(s.keys, set, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the token server's keys: %w", err)
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (s *TokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "no form", http.StatusBadRequest)
		return
	}
	name, password, shown := r.BasicAuth()
	if r.Method == http.MethodPost {
		name, password, shown = r.PostForm.Get("username"), r.PostForm.Get("password"), true
	}
	var who Tenant
	if shown {
		i := slices.IndexFunc(s.tenants, func(t Tenant) bool { return t.Name == name && t.Password == password })
		if i < 0 {
			http.Error(w, "who is that?", http.StatusUnauthorized)
			return
		}
		who = s.tenants[i]
	}
	var repositories []string
	for scope := range strings.FieldsSeq(strings.Join(r.Form["scope"], " ")) {
		if part := strings.Split(scope, ":"); len(part) == 3 && part[0] == "repository" && who.may(part[1]) {
			repositories = append(repositories, part[1])
		}
	}
	token, err := s.Mint(who.Name, tokenLife, repositories...)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client may have gone
		"token": token, "access_token": token, "expires_in": int(tokenLife.Seconds()), "issued_at": time.Now().UTC(),
	})
}

// Mint makes a token that is good for pulling from these repositories; with a
// negative life, one that has long been no good.
func (s *TokenServer) Mint(subject string, life time.Duration, repositories ...string) (string, error) {
	return s.mint(s.key, subject, life, repositories)
}

// Forge is Mint with a key of somebody else's under this server's name.
func (s *TokenServer) Forge(subject string, repositories ...string) (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	return s.mint(key, subject, tokenLife, repositories)
}

func (s *TokenServer) mint(key *ecdsa.PrivateKey, subject string, life time.Duration, repositories []string) (string, error) {
	rights := []map[string]any{}
	for _, name := range repositories {
		rights = append(rights, map[string]any{"type": "repository", "name": name, "actions": []string{"pull"}})
	}
	now := time.Now()
	header, err1 := json.Marshal(map[string]any{"typ": "JWT", "alg": "ES256", "kid": tokenKey})
	claims, err2 := json.Marshal(map[string]any{
		"iss": tokenIssuer, "sub": subject, "aud": tokenService, "jti": rand.Text(), "access": rights,
		// It begins before it ends, also where it has ended.
		"iat": now.Add(-24 * time.Hour).Unix(), "nbf": now.Add(-24 * time.Hour).Unix(), "exp": now.Add(life).Unix(),
	})
	if err := errors.Join(err1, err2); err != nil {
		return "", fmt.Errorf("make a token: %w", err)
	}
	signed := encoded(header) + "." + encoded(claims)
	sum := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	token := signed + "." + encoded(signature[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued = append(s.issued, token)
	return token, nil
}

// Issued are all tokens that were made, good or not.
func (s *TokenServer) Issued() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.issued)
}

// LinkLocal is how many connections came by a link-local address.
func (s *TokenServer) LinkLocal() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.linkLocal
}

func (s *TokenServer) connected(c net.Conn, state http.ConnState) {
	at, err := netip.ParseAddrPort(c.LocalAddr().String())
	if state != http.StateNew || err != nil || !at.Addr().Unmap().IsLinkLocalUnicast() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.linkLocal++
}

func encoded(p []byte) string { return base64.RawURLEncoding.EncodeToString(p) }
