package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	benchRange   = 4 << 20
	benchStreams = 4
)

// BenchmarkBulk moves ranges of 4 MiB, four at a time, between two nodes over
// loopback: from memory over TLS, and from a file over bare TCP. Compare the
// first with BenchmarkBareTLS; the design asks for 0.8 of it.
func BenchmarkBulk(b *testing.B) {
	b.Run("TLS", func(b *testing.B) { benchBulk(b, false) })
	b.Run("clear", func(b *testing.B) { benchBulk(b, true) })
}

func benchBulk(b *testing.B, clear bool) {
	cfg, cfg2 := loopback(b), loopback(b)
	cfg.ClearBulk, cfg2.ClearBulk = clear, clear
	parent, child := launch(b, cfg), launch(b, cfg2)
	path := filepath.Join(b.TempDir(), "blob")
	if err := os.WriteFile(path, noise(benchRange), 0o600); err != nil {
		b.Fatal(err)
	}
	parent.upload = func(_ context.Context, _ scheduler.PeerID, _ piece.Digest, _, n int64) (*peer.Upload, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		return peer.NewUpload(&io.LimitedReader{R: f, N: n}, func() { f.Close() }), nil
	}
	from := parent.Self()
	inParallel(b, func(buf []byte) error {
		body, err := child.Fetch(context.Background(), from, piece.Digest{1}, 0, benchRange)
		if err != nil {
			return err
		}
		defer body.Close()
		_, err = io.ReadFull(body, buf)
		return err
	})
}

// BenchmarkBareTLS is what crypto/tls alone does with the same certificate
// and the same pieces: the bound for BenchmarkBulk.
func BenchmarkBareTLS(b *testing.B) {
	key, err := loadIdentity(filepath.Join(b.TempDir(), "key"))
	if err != nil {
		b.Fatal(err)
	}
	identity, err := newIdentity(key, everybody{})
	if err != nil {
		b.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	listener := secure(plain, identity)
	defer listener.Close()
	content := noise(benchRange)
	var senders sync.WaitGroup
	senders.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			senders.Go(func() {
				defer c.Close()
				one := make([]byte, 1) // each byte asks for one range
				for {
					if _, err := io.ReadFull(c, one); err != nil {
						return
					}
					if _, err := io.CopyBuffer(c, struct{ io.Reader }{bytes.NewReader(content)}, make([]byte, bulkBuffer)); err != nil {
						return
					}
				}
			})
		}
	})
	conns := make(chan net.Conn, benchStreams)
	for range benchStreams {
		config, err := bulkTLS(identity, "")
		if err != nil {
			b.Fatal(err)
		}
		c, err := tls.Dial("tcp", plain.Addr().String(), config)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		conns <- c
	}
	inParallel(b, func(buf []byte) error {
		c := <-conns
		defer func() { conns <- c }()
		if _, err := c.Write([]byte{1}); err != nil {
			return err
		}
		_, err := io.ReadFull(c, buf)
		return err
	})
	b.StopTimer()
	for range benchStreams {
		(<-conns).Close()
	}
	listener.Close()
	senders.Wait()
}

// inParallel runs move b.N times, benchStreams at once.
func inParallel(b *testing.B, move func(buf []byte) error) {
	b.SetBytes(benchRange)
	b.ResetTimer()
	next := make(chan struct{})
	var movers sync.WaitGroup
	for range benchStreams {
		movers.Go(func() {
			buf := make([]byte, benchRange)
			for range next {
				if err := move(buf); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for range b.N {
		next <- struct{}{}
	}
	close(next)
	movers.Wait()
}
