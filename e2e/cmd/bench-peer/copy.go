package main

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

// copyEnv tells a process to be one end of a bare copy.
const copyEnv = "P2PD_BENCH_COPY"

// copyBuffer is p2pd's own unit of copying.
const copyBuffer = 256 << 10

// copyPort is free on a node of the lab.
const copyPort = 8089

// copySpec is one end of a bare copy: a file goes from one process to another
// over one connection. With Cert both ends use it, on TLS 1.3; without, the
// sender uses sendfile.
type copySpec struct {
	Listen string // the sender's address, on the sending end
	File   string // what it sends
	Dial   string // the same address, on the receiving end
	Cert   []byte `json:",omitempty"` // DER
	Key    []byte `json:",omitempty"` // Ed25519's seed
}

// runCopy is one end of a bare copy, in a process that was started for that.
func runCopy(ctx context.Context, spec string) error {
	var s copySpec
	if err := json.Unmarshal([]byte(spec), &s); err != nil {
		return err
	}
	if s.Listen != "" {
		return s.send(ctx)
	}
	return s.receive(ctx)
}

// config is nil without a certificate.
func (s copySpec) config() *tls.Config {
	if s.Cert == nil {
		return nil
	}
	roots := x509.NewCertPool()
	if cert, err := x509.ParseCertificate(s.Cert); err == nil { // else no handshake succeeds
		roots.AddCert(cert)
	}
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		ServerName:                  copyName,
		RootCAs:                     roots,
		Certificates:                []tls.Certificate{{Certificate: [][]byte{s.Cert}, PrivateKey: ed25519.NewKeyFromSeed(s.Key)}},
		DynamicRecordSizingDisabled: true,
	}
}

// send gives the file to everybody who connects, one after the other.
func (s copySpec) send(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.sendTo(conn); err != nil {
			fmt.Fprintln(os.Stderr, err) // a probe of the port, or the receiver says it too
		}
	}
}

func (s copySpec) sendTo(conn net.Conn) error {
	f, err := os.Open(s.File)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer f.Close()
	if config := s.config(); config != nil {
		conn = tls.Server(conn, config)
		_, err = io.CopyBuffer(conn, struct{ io.Reader }{f}, make([]byte, copyBuffer))
	} else {
		_, err = io.Copy(conn, f) // sendfile
	}
	return errors.Join(err, conn.Close())
}

// receive reads the file to its end, drops it, and prints how long that took
// from the dial on.
func (s copySpec) receive(ctx context.Context) error {
	began := time.Now()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Dial)
	if err != nil {
		return err
	}
	defer conn.Close()
	if config := s.config(); config != nil {
		conn = tls.Client(conn, config)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, make([]byte, copyBuffer))
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", n, err)
	}
	return json.NewEncoder(os.Stdout).Encode(copied{Bytes: n, Seconds: time.Since(began).Seconds()})
}

// copied is what a bare copy took. The receiving end prints the first two.
type copied struct {
	Bytes   int64
	Seconds float64
	// Sent and Received are the CPU seconds of either end.
	Sent, Received float64 `json:"-"`
}

// copyName is in the certificate of a copy.
const copyName = "copy.bench"

// withTLS adds a fresh certificate.
func (s copySpec) withTLS() (copySpec, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return s, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: copyName}, DNSNames: []string{copyName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	s.Cert, err = x509.CreateCertificate(nil, template, template, public, private)
	s.Key = private.Seed()
	return s, err
}

// bareCopy copies a file from node 0 to node 1.
func (s *stage) bareCopy(ctx context.Context, file string, secure bool) (c copied, err error) {
	from, to := s.lab.Net.Nodes[0], s.lab.Net.Nodes[1]
	sending := copySpec{Listen: from.At(copyPort), File: file}
	if secure {
		if sending, err = sending.withTLS(); err != nil {
			return c, err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return c, err
	}
	env, err := sending.env()
	if err != nil {
		return c, err
	}
	sender, err := s.lab.Start(from, lab.Spec{Name: "copy", Args: []string{self}, Env: []string{env}})
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, sender.Stop()) }()
	if err := sender.WaitReady(ctx, func(ctx context.Context) error {
		conn, err := to.Dial(ctx, "tcp", sending.Listen)
		if err != nil {
			return err
		}
		return conn.Close()
	}); err != nil {
		return c, err
	}
	receiving := copySpec{Dial: sending.Listen, Cert: sending.Cert, Key: sending.Key}
	if env, err = receiving.env(); err != nil {
		return c, err
	}
	cmd := to.Command(ctx, self)
	cmd.Env, cmd.Stderr = append(os.Environ(), env), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return c, fmt.Errorf("receiving end of a bare copy: %w", err)
	}
	if err := json.Unmarshal(out, &c); err != nil || c.Bytes < int64(s.size) {
		return c, fmt.Errorf("a bare copy moved %d bytes of %d: %w", c.Bytes, s.size, err)
	}
	used, err := sender.Usage()
	c.Sent, c.Received = used.CPU.Seconds(), cmd.ProcessState.UserTime().Seconds()+cmd.ProcessState.SystemTime().Seconds()
	return c, err
}

// env makes a process that end of a copy.
func (s copySpec) env() (string, error) {
	text, err := json.Marshal(s)
	return copyEnv + "=" + string(text), err
}
