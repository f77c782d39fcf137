package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/p2pd/p2pd/internal/rpc"
	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/internal/web"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// AdminConfig is where operators ask the scheduler, and who may.
type AdminConfig struct {
	// Listen is unix:///PATH, a socket for its owner alone, or IP:PORT on
	// loopback, with a token; empty: nowhere.
	Listen string `json:"listen"`
	// TokenFile holds the token, made on the first start.
	TokenFile string `json:"tokenFile"`
}

// defaultAdmin is the socket where p2pctl looks.
const defaultAdmin = "unix:///run/p2pd/scheduler.sock"

const (
	unixScheme = "unix://"
	// tokenLeast is how short a token may be that was not made here.
	tokenLeast = 16
	// folderMode is for a socket's folder that is not there yet.
	folderMode = 0o700
)

func (c *AdminConfig) flags(fs *pflag.FlagSet) {
	text(fs, &c.Listen, "admin-listen", "where p2pctl asks: unix:///`PATH`, or IP:PORT on loopback with a token; empty: nowhere")
	text(fs, &c.TokenFile, "admin-token-file", "`file` with the token for an admin.listen that is no socket, made on the first start")
}

// admin checks where operators are to ask.
func (p *problems) admin(c AdminConfig) {
	if path, isSocket := strings.CutPrefix(c.Listen, unixScheme); isSocket {
		p.socket("admin.listen", path)
		return
	}
	if c.Listen == "" || !p.listen("admin.listen", c.Listen) {
		return
	}
	if !loopback(c.Listen) {
		p.add("admin.listen", c.Listen, "is open to others, and the token would cross the network in the clear; use unix:///PATH or 127.0.0.1:PORT, and reach it by ssh -L or kubectl port-forward")
	}
	if c.TokenFile == "" {
		p.add("admin.tokenFile", "", "names no file, and admin.listen needs a token; name one that is to be made, such as /var/lib/p2pd/admin.token")
	}
}

// socket checks where one is to be.
func (p *problems) socket(key, path string) {
	switch {
	case !filepath.IsAbs(path):
		p.add(key, path, "is no absolute path of a socket; write unix:///run/p2pd/NAME.sock")
	case len(path) > socketMost:
		p.add(key, path, fmt.Sprintf("is too long for a socket; name a file of at most %d bytes", socketMost))
	}
}

// open opens the listener and says who may ask there.
func (c AdminConfig) open(ctx context.Context) (net.Listener, web.Guard, error) {
	if path, isSocket := strings.CutPrefix(c.Listen, unixScheme); isSocket {
		if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
			return nil, nil, fmt.Errorf("admin.listen: %w", err)
		}
		l, err := listenLocal(ctx, path)
		if err != nil {
			return nil, nil, fmt.Errorf("admin.listen: %w", err)
		}
		return l, web.BySocket(caller), nil
	}
	token, err := adminToken(c.TokenFile)
	if err != nil {
		return nil, nil, fmt.Errorf("admin.tokenFile: %w", err)
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, nil, fmt.Errorf("admin.listen: %w", err)
	}
	return l, web.ByToken(token), nil
}

// adminToken reads the token, and makes it first if the file is not there.
func adminToken(path string) (secret.Value, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names it
	if err == nil {
		_, err = f.WriteString(rand.Text() + rand.Text() + "\n")
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return secret.Value{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return secret.Value{}, err
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return secret.Value{}, fmt.Errorf("%s has mode %o, so that everybody can use it; chmod 600 it, and remove it to have a new one made", path, mode)
	}
	b, err := os.ReadFile(path) //nolint:gosec // the operator names it
	if err != nil {
		return secret.Value{}, err
	}
	token := strings.TrimSpace(string(b))
	if len(token) < tokenLeast {
		return secret.Value{}, fmt.Errorf("%s holds %d characters, which is no token; remove the file to have one made, or write at least %d", path, len(token), tokenLeast)
	}
	return secret.New(token), nil
}

// admin is a listener for operators.
type admin struct {
	l       net.Listener
	guard   web.Guard
	version string
	log     *slog.Logger
}

// openAdmin opens the scheduler's. The default place may be out of reach, in a
// container or without a folder for it; that is no reason not to schedule. It
// returns nil where there is none.
func openAdmin(c AdminConfig, version string, log *slog.Logger) (*admin, error) {
	if c.Listen == "" {
		return nil, nil
	}
	l, guard, err := c.open(context.Background())
	if err != nil && c.Listen == defaultAdmin {
		log.Warn("p2pctl will not reach this scheduler; set admin.listen to a socket that can be made, or to nothing", "err", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &admin{l: l, guard: guard, version: version, log: log}, nil
}

// run answers until ctx ends.
func (a *admin) run(ctx context.Context, h *Hub) error {
	a.log.Info("answering operators", "listen", a.l.Addr().String())
	return serveAdmin(ctx, a.l, web.New(web.Config{
		Guard: a.guard, TokenKey: "admin.tokenFile", Brain: operated{h}, Preheats: h.desk, Ledger: &h.ledger,
		GRPC:    func(d web.PreheatDesk) http.Handler { return rpc.ServePreheats(d) },
		Version: a.version, Started: time.Now(), Logger: a.log,
	}))
}

// operated is a hub as operators see it.
type operated struct{ h *Hub }

// View implements web.Brain.
func (o operated) View(ctx context.Context, f func(time.Time, *scheduler.Scheduler)) error {
	return o.h.server.Inspect(ctx, func(rpc.Core) { f(time.Now(), o.h.core) })
}

// Ban implements web.Brain.
func (o operated) Ban(ctx context.Context, b scheduler.BanPeer) error { return o.h.ban(ctx, b) }

// Unban implements web.Brain.
func (o operated) Unban(ctx context.Context, p scheduler.PeerID) error {
	return o.h.unban(ctx, p)
}

// otherEnd is the context's key for who is at the other end of a socket.
type otherEnd struct{}

// connContext remembers who connected.
func connContext(ctx context.Context, c net.Conn) context.Context {
	if name := peerOf(c); name != "" {
		return context.WithValue(ctx, otherEnd{}, name)
	}
	return ctx
}

// caller is who makes a request on a socket, in words.
func caller(r *http.Request) string {
	if name, ok := r.Context().Value(otherEnd{}).(string); ok {
		return name
	}
	return "somebody on the socket"
}
