package egress

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority makes certificates, which it signs.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // with its own certificate
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert, a.key = a.issue("authority", nil)
	a.file = a.write("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

// issue makes a certificate for a name; the first one is the authority's own.
func (a *authority) issue(name string, notAfter *time.Time) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if notAfter != nil {
		c.NotAfter = *notAfter
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		a.t.Fatal(err)
	}
	return c, key
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	name = filepath.Join(a.t.TempDir(), name)
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return name
}

// pair writes a certificate of its own for a name, and the key.
func (a *authority) pair(name string) (certFile, keyFile string) {
	cert, key := a.issue(name, nil)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write("tls.crt", "CERTIFICATE", cert.Raw), a.write("tls.key", "PRIVATE KEY", der)
}

// server tells who its client is, by the certificate.
func (a *authority) server(name string) *httptest.Server {
	cert, key := a.issue(name, nil)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := "nobody"
		if c := r.TLS.PeerCertificates; len(c) > 0 {
			who = c[0].Subject.CommonName
		}
		_, _ = io.WriteString(w, who+" by "+r.Proto)
	}))
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	s.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		ClientAuth:   tls.VerifyClientCertIfGiven, ClientCAs: pool, MinVersion: tls.VersionTLS12,
	}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // broken handshakes are wanted
	s.StartTLS()
	a.t.Cleanup(s.Close)
	return s
}

// A host is recognised by the operator's authority and name, shown our
// certificate, and none of that is for any other host.
func TestTLS(t *testing.T) {
	a := newAuthority(t)
	s, other := a.server("registry.test"), a.server("registry.test")
	at := s.Listener.Addr().String()
	certFile, keyFile := a.pair("node-7")
	good := TLS{CAFile: a.file, ServerName: "registry.test"}
	mutual := good
	mutual.CertFile, mutual.KeyFile = certFile, keyFile
	for _, c := range []struct {
		name string
		tls  TLS
		want string
		err  string
	}{
		{"an authority and a name", good, "nobody by HTTP/2.0", ""},
		{"a client's certificate", mutual, "node-7 by HTTP/2.0", ""},
		{"no authority", TLS{ServerName: "registry.test"}, "", "certificate"},
		{"another authority", TLS{CAFile: newAuthority(t).file, ServerName: "registry.test"}, "", "certificate"},
		{"another name", TLS{CAFile: a.file, ServerName: "other.test"}, "", "certificate"},
		{"nothing", TLS{}, "", "certificate"},
	} {
		// The other one may be connected to, and is no more than that.
		cl := client(t, Config{Hosts: []Host{{Scheme: "https", Host: at, TLS: c.tls}, {Scheme: "https", Host: other.Listener.Addr().String()}}})
		got, err := get(t, cl, s.URL)
		if got != c.want || c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		if got, err := get(t, cl, other.URL); err == nil {
			t.Errorf("%s: another host: %q", c.name, got)
		}
	}
}

// A certificate that was replaced on the disk is used for the next connection.
func TestClientCertificateIsReplaced(t *testing.T) {
	a := newAuthority(t)
	s := a.server("registry.test")
	certFile, keyFile := a.pair("old")
	c := client(t, Config{Hosts: []Host{{Scheme: "https", Host: s.Listener.Addr().String(),
		TLS: TLS{CAFile: a.file, ServerName: "registry.test", CertFile: certFile, KeyFile: keyFile}}}})
	if got, err := get(t, c, s.URL); got != "old by HTTP/2.0" {
		t.Fatalf("%q, %v", got, err)
	}
	newCert, newKey := a.pair("new")
	for from, to := range map[string]string{newCert: certFile, newKey: keyFile} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	c.CloseIdleConnections()
	if got, err := get(t, c, s.URL); got != "new by HTTP/2.0" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTLSThatCannotBe(t *testing.T) {
	a := newAuthority(t)
	certFile, keyFile := a.pair("x")
	_, otherKey := a.pair("y")
	for name, c := range map[string]TLS{
		"no file":          {CAFile: filepath.Join(t.TempDir(), "gone")},
		"no certificate":   {CAFile: keyFile},
		"a key is missing": {CertFile: certFile},
		"a key alone":      {KeyFile: keyFile},
		"another's key":    {CertFile: certFile, KeyFile: otherKey},
	} {
		if _, err := New(Config{Hosts: []Host{{Scheme: "https", Host: "r.example", TLS: c}}}); err == nil || !strings.Contains(err.Error(), "r.example") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Two names of the operator's for one place: what either grants is granted.
func TestAHostTwice(t *testing.T) {
	c := client(t, Config{Hosts: []Host{{Scheme: "https", Host: "r.example"}, {Scheme: "https", Host: "R.example:443", Private: true}}})
	k, ok := c.hosts.Get("r.example:443")
	if !ok || !k.private {
		t.Errorf("%+v", k)
	}
}

// More of a header than anybody needs is not read.
func TestImmenseHeaders(t *testing.T) {
	s, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X", strings.Repeat("x", 2*MaxHeaderBytes))
	})
	c := client(t, Config{Hosts: []Host{{Scheme: "http", Host: s.Listener.Addr().String()}}})
	if _, err := get(t, c, s.URL); err == nil || !strings.Contains(err.Error(), "header") {
		t.Errorf("%v", err)
	}
}

// An answer that does not begin is given up, and so is a handshake.
func TestSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for _, scheme := range []string{"http", "https"} {
		c := client(t, Config{Hosts: []Host{{Scheme: scheme, Host: l.Addr().String()}}, DialTimeout: 100 * time.Millisecond, HeaderTimeout: 100 * time.Millisecond})
		if _, err := get(t, c, scheme+"://"+l.Addr().String()); err == nil || !strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}
