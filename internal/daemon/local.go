package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// LocalConfig is the way in for this machine's own root.
type LocalConfig struct {
	// Socket is where the daemon listens for its own commands; empty: the
	// file "p2pd.sock" in store.path. Its file mode is what protects it.
	Socket string `json:"socket"`
}

const (
	// bytesIdle is how long whoever puts a blob may send nothing.
	bytesIdle = time.Minute
	// maxPuts is how many blobs are taken at once.
	maxPuts = 4
	// socketMode lets nobody else in.
	socketMode = 0o600
	// socketMost is how long a socket's path can be: sun_path less its final
	// zero (unix(7)).
	socketMost = 107
)

// localSocket is where the socket of a configuration is.
func (c NodeConfig) localSocket() string {
	if c.Local.Socket != "" {
		return c.Local.Socket
	}
	return filepath.Join(c.Store.Path, "p2pd.sock")
}

// listenLocal opens the socket. One that a dead process left is replaced.
func listenLocal(ctx context.Context, path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		info, statErr := os.Lstat(path)
		if statErr != nil || info.Mode().Type() != fs.ModeSocket {
			return nil, err
		}
		if conn, dialErr := new(net.Dialer).DialContext(ctx, "unix", path); dialErr == nil { //nolint:forbidigo // to this machine
			return nil, errors.Join(fmt.Errorf("%s: another p2pd listens there", path), conn.Close())
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		if l, err = net.Listen("unix", path); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// depot takes blobs into the store that came by other ways than the swarm, and
// offers them to it.
type depot struct {
	store peer.Store
	offer func(piece.Digest, int64) bool
	turns chan struct{} // one entry a blob that is being put
	log   *slog.Logger
}

func newDepot(s peer.Store, offer func(piece.Digest, int64) bool, log *slog.Logger) *depot {
	return &depot{store: s, offer: offer, turns: make(chan struct{}, maxPuts), log: log}
}

// handler is the local interface.
//
//	HEAD /v1/blobs/sha256:<hex>   200 if the blob is here, else 404
//	PUT  /v1/blobs/sha256:<hex>   201 once it is here, 200 if it was
//
// Errors are text: 400 for what cannot be, 409 while a download of the blob
// runs, 411 without a length, 422 for false bytes, 507 with no room.
func (d *depot) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("HEAD /v1/blobs/{digest}", func(w http.ResponseWriter, r *http.Request) {
		dg, err := piece.ParseDigest(r.PathValue("digest"))
		switch {
		case err != nil:
			w.WriteHeader(http.StatusBadRequest)
		case !d.store.Has(dg):
			w.WriteHeader(http.StatusNotFound)
		}
	})
	mux.HandleFunc("PUT /v1/blobs/{digest}", func(w http.ResponseWriter, r *http.Request) {
		fresh, err := d.put(w, r)
		switch {
		case err != nil:
			d.log.Info("a blob was not taken", "blob", r.PathValue("digest"), "err", err)
			http.Error(w, err.Error(), statusOf(err))
		case fresh:
			w.WriteHeader(http.StatusCreated)
		}
	})
	return mux
}

// putError is a request that no repetition helps.
type putError struct {
	status int
	error
}

func (b putError) Unwrap() error { return b.error }

func statusOf(err error) int {
	bad, isBad := errors.AsType[putError](err)
	_, mismatch := errors.AsType[*piece.MismatchError](err)
	switch {
	case isBad:
		return bad.status
	case mismatch:
		return http.StatusUnprocessableEntity
	case errors.Is(err, store.ErrIngestOpen):
		return http.StatusConflict
	case errors.Is(err, peer.ErrNoSpace):
		return http.StatusInsufficientStorage
	}
	return http.StatusInternalServerError
}

// put takes the body of a request. It reports whether the blob was not here
// before.
func (d *depot) put(w http.ResponseWriter, r *http.Request) (fresh bool, err error) {
	dg, err := piece.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return false, putError{http.StatusBadRequest, err}
	}
	if r.ContentLength < 0 {
		return false, putError{http.StatusLengthRequired, errors.New("the length must be told")}
	}
	layout, err := piece.NewLayout(r.ContentLength)
	if err != nil {
		return false, putError{http.StatusBadRequest, err}
	}
	if d.store.Has(dg) {
		return false, nil
	}
	select {
	case d.turns <- struct{}{}:
		defer func() { <-d.turns }()
	case <-r.Context().Done():
		return false, r.Context().Err()
	}
	if err := d.receive(r.Context(), dg, layout, &idle{r.Body, http.NewResponseController(w)}); err != nil {
		return false, err
	}
	d.offer(dg, layout.Size()) // if a download began meanwhile, that tells the swarm
	d.log.Info("blob imported", "blob", dg.Short(), "bytes", layout.Size())
	return true, nil
}

// receive takes a blob piece by piece, as all bytes enter the store.
func (d *depot) receive(ctx context.Context, dg piece.Digest, l piece.Layout, body io.Reader) error {
	in, err := d.store.Ingest(ctx, dg, l)
	if err != nil {
		return err
	}
	defer in.Close()
	for i := range l.Count() {
		_, length := l.Bounds(i)
		one := &io.LimitedReader{R: body, N: length}
		if _, err := in.Receive(ctx, i, one, piece.Digest{}); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, one); err != nil { // it was here
			return err
		}
	}
	err = in.Commit(ctx)
	if _, mismatch := errors.AsType[*piece.MismatchError](err); mismatch {
		for i := range l.Count() { // nobody is to go on with these
			_ = in.Forget(i)
		}
	}
	return err
}

// idle gives up a body that sends nothing for bytesIdle.
type idle struct {
	r io.Reader
	c *http.ResponseController
}

func (i *idle) Read(p []byte) (int, error) {
	_ = i.c.SetReadDeadline(time.Now().Add(bytesIdle)) // a unix socket always has one
	return i.r.Read(p)
}

// local checks where the socket is to be.
func (p *problems) local(c NodeConfig) {
	if path := c.localSocket(); len(path) > socketMost {
		p.add("local.socket", path, fmt.Sprintf("is too long for a socket; name a file of at most %d bytes", socketMost))
	}
}
