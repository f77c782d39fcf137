package transport

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"

	libpeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pd/p2pd/internal/throttle"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// fetchIdle closes connections that no download uses; below serveIdle.
	fetchIdle = 90 * time.Second
	// fetchIdlePerPeer keeps what one hot neighbour needs.
	fetchIdlePerPeer = 4
	// fetchBuffer holds some TLS records, of which a read yields one. A
	// reader with larger buffers than this goes around it.
	fetchBuffer = 64 << 10
	// A parent whose machine died answers nothing; probes find out while
	// the connection idles in the pool.
	probeAfter, probeEvery, probes = 15 * time.Second, 5 * time.Second, 3
	// errorBody is how much of a refusal is read, for its text and so that
	// the connection can be used again.
	errorBody = 1 << 10
)

// client fetches bulk pieces from parents.
type client struct {
	cfg      Config
	self     libpeer.ID
	identity *identity
	count    *counters
	http     *http.Transport
	life     context.Context // all fetches end with it
	end      context.CancelFunc
}

func newClient(cfg Config, self libpeer.ID, identity *identity, count *counters) *client {
	c := &client{cfg: cfg, self: self, identity: identity, count: count}
	c.life, c.end = context.WithCancel(context.Background())
	h1 := new(http.Protocols)
	h1.SetHTTP1(true)
	c.http = &http.Transport{
		Protocols:           h1,
		DialContext:         c.dial,
		DialTLSContext:      c.dialTLS,
		DisableCompression:  true,
		MaxConnsPerHost:     cfg.Limits.FetchConns,
		MaxIdleConnsPerHost: fetchIdlePerPeer,
		IdleConnTimeout:     fetchIdle,
		ReadBufferSize:      fetchBuffer,
	}
	return c
}

// close ends all fetches and connections.
func (c *client) close() {
	c.end()
	c.http.CloseIdleConnections()
}

// fetch asks a parent for bytes of a blob and returns once they begin to
// arrive. The body yields exactly n bytes or fails; it ends with ctx.
func (c *client) fetch(ctx context.Context, from scheduler.Peer, d piece.Digest, off, n int64) (io.ReadCloser, error) {
	c.count.fetches.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	detach := context.AfterFunc(c.life, cancel)
	headers := make(http.Header)
	ended := c.cfg.Tracer.Fetch(d, string(from.ID), off, n, headers)
	end := func(err error) { detach(); cancel(); ended(err) }
	var conn net.Conn
	res, err := c.ask(httptrace.WithClientTrace(ctx, watching(&conn)), from, d, off, n, headers)
	if err != nil {
		end(err)
		c.count.fetchesFailed.Add(1)
		return nil, fmt.Errorf("fetch %s from peer %s: %w", d.Short(), from.ID, err)
	}
	c.count.fetchesRunning.Add(1)
	limits := []*throttle.Limit{c.cfg.Download}
	if c.cfg.far(from.Zone) {
		limits = append(limits, c.cfg.FarDownload)
	}
	return &fetched{
		r:      throttle.Reader(ctx, res.Body, limits...),
		body:   res.Body,
		gather: newGather(conn, n),
		end:    end,
		count:  c.count,
	}, nil
}

// ask makes the request, with further headers, and checks the header of the
// response.
func (c *client) ask(ctx context.Context, from scheduler.Peer, d piece.Digest, off, n int64, headers http.Header) (*http.Response, error) {
	if off < 0 || n <= 0 || n > maxRange {
		return nil, fmt.Errorf("range of %d bytes at %d cannot be asked for", n, off)
	}
	if err := c.cfg.Members.Banned(string(from.ID)); err != nil {
		return nil, err
	}
	route, err := routeTo(from)
	if err != nil {
		return nil, err
	}
	scheme := "https"
	if c.cfg.ClearBulk {
		scheme = "http"
	}
	headers["Range"], headers["User-Agent"] = []string{fmt.Sprintf("bytes=%d-%d", off, off+n-1)}, nil
	req := (&http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Scheme: scheme, Host: route, Path: blobPath + d.String()},
		Host:   from.Bulk,
		Header: headers,
	}).WithContext(ctx)
	if c.cfg.ClearBulk {
		req.Header.Set(childHeader, c.self.String())
	}
	if c.cfg.Tickets != nil {
		if own := c.cfg.Tickets.Own(d); own != nil {
			req.Header.Set(ticketHeader, base64.RawURLEncoding.EncodeToString(own))
		}
	}
	if c.cfg.Zone != "" {
		req.Header.Set(zoneHeader, c.cfg.Zone)
	}
	res, err := c.http.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if err := checkResponse(res, n); err != nil {
		res.Body.Close()
		return nil, err
	}
	return res, nil
}

// checkResponse is nil if res carries the n bytes asked for.
func checkResponse(res *http.Response, n int64) error {
	if res.StatusCode == http.StatusPartialContent {
		if res.ContentLength != n {
			return fmt.Errorf("peer sends %d bytes of %d", res.ContentLength, n)
		}
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, errorBody))
	if err != nil {
		return fmt.Errorf("read refusal: %w", err)
	}
	switch res.StatusCode {
	case http.StatusNotFound:
		return peer.ErrNotHeld
	case http.StatusServiceUnavailable:
		return peer.ErrBusy
	default:
		return fmt.Errorf("peer answered %d: %.200q", res.StatusCode, text)
	}
}

// routeTo is the host part of the URL for a peer. The pool of connections is
// keyed by it, and a connection is good for one identity at one address, so
// it names both: "<peer ID>.<host>:<port>". Nobody ever resolves it.
func routeTo(p scheduler.Peer) (string, error) {
	id, err := libpeer.Decode(string(p.ID))
	if err != nil {
		return "", fmt.Errorf("peer ID: %w", err)
	}
	host, port, err := net.SplitHostPort(p.Bulk)
	if err != nil {
		return "", fmt.Errorf("bulk address: %w", err)
	}
	if strings.ContainsAny(host, "/@ ") {
		return "", fmt.Errorf("bulk address %q has no host", p.Bulk)
	}
	return net.JoinHostPort(id.String()+"."+host, port), nil
}

// parseRoute undoes routeTo.
func parseRoute(route string) (id libpeer.ID, address string, err error) {
	host, port, err := net.SplitHostPort(route)
	if err != nil {
		return "", "", err
	}
	name, host, _ := strings.Cut(host, ".")
	if id, err = libpeer.Decode(name); err != nil {
		return "", "", err
	}
	return id, net.JoinHostPort(host, port), nil
}

// dial connects to the peer of a route without proof of who it is.
func (c *client) dial(ctx context.Context, network, route string) (net.Conn, error) {
	_, address, err := parseRoute(route)
	if err != nil {
		return nil, err
	}
	c.count.fetchConns.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	dialer := net.Dialer{
		Timeout:         dialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: probeAfter, Interval: probeEvery, Count: probes},
	}
	return dialer.DialContext(ctx, network, address)
}

// dialTLS connects to the peer of a route and makes sure that it is that one.
func (c *client) dialTLS(ctx context.Context, network, route string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	id, _, err := parseRoute(route)
	if err != nil {
		return nil, err
	}
	raw, err := c.dial(ctx, network, route)
	if err != nil {
		return nil, err
	}
	config, err := bulkTLS(c.identity, id)
	if err != nil {
		raw.Close()
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return conn, nil
}

// fetched is the body of a fetch.
type fetched struct {
	r      io.Reader     // body under the download limit
	body   io.ReadCloser // ends early with an error, never with io.EOF
	gather *gather
	end    func(error) // told why the body ended early, nil if it did not
	failed error       // the first error of a Read but io.EOF
	once   sync.Once
	count  *counters
}

// Read implements io.Reader.
func (f *fetched) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	f.gather.took(n)
	f.count.fetchedBytes.Add(int64(n))
	if err != nil && f.failed == nil && !errors.Is(err, io.EOF) {
		f.failed = err
	}
	return n, err
}

// Close ends the fetch. A body that was not read to its end takes its
// connection with it: what the parent still sends is waste.
func (f *fetched) Close() error {
	var err error
	f.once.Do(func() {
		err = f.body.Close()
		f.end(f.failed)
		f.count.fetchesRunning.Add(-1)
	})
	return err
}
