package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const (
	tokenRegistryPort = 5010
	basicRegistryPort = 5443
)

// SecureRegistry is the origin's content behind a login: another process of the
// same registry, over the same files. What is pushed to the origin is here.
type SecureRegistry struct {
	*Registry
	*Process
	CAFile string // of its own authority; empty: plain HTTP
}

// StartTokenRegistry starts one that wants a token server's tokens.
func (l *Lab) StartTokenRegistry(ctx context.Context, s *TokenServer) (*SecureRegistry, error) {
	return l.startSecure(ctx, "token", tokenRegistryPort, nil, map[string]any{"token": map[string]any{
		"realm": s.Realm, "service": tokenService, "issuer": tokenIssuer, "jwks": s.keys,
	}})
}

// StartBasicRegistry starts one by HTTPS that wants passwords. It lets each
// tenant pull everything, and nobody else anything.
func (l *Lab) StartBasicRegistry(ctx context.Context, tenants ...Tenant) (*SecureRegistry, error) {
	dir, err := l.mkdir("registry-basic")
	if err != nil {
		return nil, err
	}
	var users []byte
	for _, t := range tenants {
		users = append(users, t.Name+":"+t.hash+"\n"...)
	}
	file := filepath.Join(dir, "htpasswd")
	if err := os.WriteFile(file, users, 0o644); err != nil {
		return nil, fmt.Errorf("write htpasswd: %w", err)
	}
	files, err := issue(dir, l.Net.Origin)
	if err != nil {
		return nil, err
	}
	return l.startSecure(ctx, "basic", basicRegistryPort, files, map[string]any{"htpasswd": map[string]any{"realm": "lab", "path": file}})
}

// startSecure starts a registry that asks for auth; files are its certificate's,
// nil for none.
func (l *Lab) startSecure(ctx context.Context, name string, port int, files *issued, auth map[string]any) (*SecureRegistry, error) {
	at := l.Net.Origin
	scheme := "http"
	http := map[string]any{"addr": at.At(port)}
	client := at.HTTPClient()
	r := &SecureRegistry{}
	if files != nil {
		scheme, r.CAFile = "https", files.ca
		http["tls"] = map[string]any{"certificate": files.cert, "key": files.key}
		client = trusting(at, files.pool)
	}
	r.Registry = &Registry{
		Endpoint: scheme + "://" + at.At(port), place: at, direct: scheme + "://" + at.At(port),
		access: filepath.Join(l.Dir, "registry-"+name+"-access.log"),
	}
	config := filepath.Join(l.Dir, "registry-"+name+".yml")
	err := writeYAML(config, map[string]any{
		"version": "0.1",
		"log":     map[string]any{"level": "warn", "accesslog": map[string]any{"disabled": false}},
		"storage": map[string]any{
			"filesystem":  map[string]any{"rootdirectory": filepath.Join(l.Dir, "registry", "data")},
			"maintenance": map[string]any{"uploadpurging": map[string]any{"enabled": false}},
		},
		"http": http, "auth": auth,
	})
	if err != nil {
		return nil, err
	}
	r.Process, err = l.Start(at, Spec{
		Name: "registry-" + name, Args: []string{filepath.Join(l.Programs.Tools, "registry"), "serve", config},
		Env:    []string{"OTEL_TRACES_EXPORTER=none"},
		Stdout: r.access,
	})
	if err != nil {
		return nil, err
	}
	return r, r.WaitReady(ctx, func(ctx context.Context) error { return challenges(ctx, client, r.Endpoint+"/v2/") })
}

func trusting(p Place, pool *x509.CertPool) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: p.Dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}}
}

// challenges succeeds if whoever shows nothing is asked for a credential.
func challenges(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("%s: %s, want a challenge", url, resp.Status)
	}
	return nil
}

// issued are the files of a server's certificate, and of who has signed it.
type issued struct {
	ca, cert, key string
	pool          *x509.CertPool
}

// issue makes an authority that nobody knows, and its certificate for a place.
func issue(dir string, p Place) (*issued, error) {
	from, until := time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the lab's own CA"}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: p.Name}, NotBefore: from, NotAfter: until,
		IPAddresses: []net.IP{p.Addr.AsSlice()}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("make keys: %w", err)
	}
	caDER, err1 := x509.CreateCertificate(rand.Reader, authority, authority, caKey.Public(), caKey)
	der, err2 := x509.CreateCertificate(rand.Reader, server, authority, key.Public(), caKey)
	keyDER, err3 := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("issue a certificate: %w", err)
	}
	made := &issued{filepath.Join(dir, "ca.crt"), filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"), x509.NewCertPool()}
	err := errors.Join(writePEM(made.ca, "CERTIFICATE", caDER), writePEM(made.cert, "CERTIFICATE", der), writePEM(made.key, "PRIVATE KEY", keyDER))
	ca, perr := x509.ParseCertificate(caDER)
	if err = errors.Join(err, perr); err != nil {
		return nil, fmt.Errorf("issue a certificate: %w", err)
	}
	made.pool.AddCert(ca)
	return made, nil
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
