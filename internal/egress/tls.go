package egress

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLS is how a host is recognised, and how we show who we are. The zero value
// means the system's certificate authorities, and no certificate of our own.
// There is no way to recognise nobody.
type TLS struct {
	// CAFile has further authorities, PEM, besides the system's.
	CAFile string
	// CertFile and KeyFile are our certificate, PEM. They are read anew for
	// each connection, so that they may be replaced.
	CertFile, KeyFile string
	// ServerName is the name in the host's certificate, where it is not the
	// host's own.
	ServerName string
}

func (t TLS) load() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("certificate authorities: %w", err)
		}
		if cfg.RootCAs, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("the system's certificate authorities: %w", err)
		}
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificate authorities: %s has no PEM certificate", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("a client certificate and its key come together")
	}
	if t.CertFile == "" {
		return cfg, nil
	}
	read := func() (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		return &c, nil
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return read() }
	_, err := read() // so that what is wrong shows at once
	return cfg, err
}
