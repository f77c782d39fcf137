package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// faultPort is where a FaultProxy listens, at the origin's place.
const faultPort = 5005

// FaultProxy stands before the registry and spoils what it says, as it is
// told. It knows p2pd from other clients by the User-Agent.
type FaultProxy struct {
	place    Place
	upstream *url.URL
	client   *http.Transport

	mu    sync.Mutex // guards what follows
	fault Fault
	met   map[string]int // requests by client and path that it holds for
	tally FaultTally
}

// FaultTally is what a FaultProxy has seen of blobs since the last Set.
type FaultTally struct {
	P2PD   Reads // by p2pd
	Direct Reads // by anybody else
	Met    int   // requests that met the fault
}

// Reads are GETs of blobs.
type Reads struct {
	Requests int
	Ranges   int   // those with a Range
	Resumed  int   // those with a Range that begins after the first byte
	Bytes    int64 // handed to the kernel: up to a socket's buffer more than the client got
}

// StartFaultProxy puts one before the registry: whatever is started later has
// it for the origin. It ends with the lab.
func (l *Lab) StartFaultProxy(ctx context.Context) (*FaultProxy, error) {
	upstream, err := url.Parse(l.Registry.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("start fault proxy: %w", err)
	}
	at := l.Net.Origin
	listener, err := at.Listen(ctx, at.At(faultPort))
	if err != nil {
		return nil, fmt.Errorf("start fault proxy: %w", err)
	}
	f := &FaultProxy{place: at, upstream: upstream, client: &http.Transport{DialContext: at.Dial, DisableCompression: true}, met: make(map[string]int)}
	server := &http.Server{Handler: f, ReadHeaderTimeout: readyTimeout}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	l.OnClose(func(context.Context) error {
		err := server.Close()
		f.client.CloseIdleConnections()
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	})
	l.Registry.Endpoint = "http://" + at.At(faultPort)
	return f, nil
}

// Set makes requests from now on meet a fault, and begins a new tally. The
// zero Fault is none. Answers under way keep what they met.
func (f *FaultProxy) Set(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.tally = fault, FaultTally{}
	clear(f.met)
}

// Tally is what was seen since the last Set.
func (f *FaultProxy) Tally() FaultTally {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tally
}

// ServeHTTP answers as the registry does, but for the fault.
func (f *FaultProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := f.begin(r)
	if !sleep(r.Context(), fault.Wait) {
		panic(http.ErrAbortHandler)
	}
	if fault.Status != 0 {
		fault.refuse(w)
		return
	}
	resp, err := f.ask(r, fault)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	for name, values := range resp.Header {
		if !fault.NoRange || name != "Accept-Ranges" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(resp.StatusCode)
	_, err = io.Copy(f.counting(w, r), fault.body(r.Context(), w, resp.Body))
	if err != nil {
		panic(http.ErrAbortHandler) // short of Content-Length, so that the client notices
	}
}

func (f *FaultProxy) ask(r *http.Request, fault Fault) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.RequestURI = f.upstream.Scheme, f.upstream.Host, ""
	if fault.NoRange {
		out.Header.Del("Range")
	}
	return f.client.RoundTrip(out)
}

// begin counts a request and says what it meets.
func (f *FaultProxy) begin(r *http.Request) Fault {
	kind, _ := kindOf(r.Method, r.URL.Path)
	f.mu.Lock()
	defer f.mu.Unlock()
	if kind == BlobGet {
		f.reads(r).add(r.Header.Get("Range"))
	}
	if !f.fault.hits(r, kind) {
		return Fault{}
	}
	client, _, _ := strings.Cut(r.UserAgent(), "/")
	key := client + " " + r.Method + " " + r.URL.Path
	f.met[key]++
	if n := f.met[key] - f.fault.Spare; n <= 0 || f.fault.Times > 0 && n > f.fault.Times {
		return Fault{}
	}
	f.tally.Met++
	return f.fault
}

// reads is where a request counts. The caller holds mu.
func (f *FaultProxy) reads(r *http.Request) *Reads {
	if isP2PD(r) {
		return &f.tally.P2PD
	}
	return &f.tally.Direct
}

func isP2PD(r *http.Request) bool { return strings.HasPrefix(r.UserAgent(), "p2pd/") }

func (d *Reads) add(byteRange string) {
	d.Requests++
	if byteRange != "" {
		d.Ranges++
		if !strings.HasPrefix(byteRange, "bytes=0-") {
			d.Resumed++
		}
	}
}

// counting counts what is written of a blob.
func (f *FaultProxy) counting(w io.Writer, r *http.Request) io.Writer {
	if kind, _ := kindOf(r.Method, r.URL.Path); kind != BlobGet {
		return w
	}
	return writerFunc(func(p []byte) (int, error) {
		// Counted before the client can have it and ask for the tally.
		f.written(r, len(p))
		n, err := w.Write(p)
		f.written(r, n-len(p))
		return n, err
	})
}

func (f *FaultProxy) written(r *http.Request, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads(r).Bytes += int64(n)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// sleep waits; it reports false if the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
