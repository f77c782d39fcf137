package faults

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/p2pd/p2pd/e2e/lab"
)

const (
	// privatePrefix is of the repositories that want the owner's password.
	privatePrefix = "team-a/"
	doorPort      = 5006
)

// doorman stands before the registry and lets only their owner have private
// repositories.
type doorman struct {
	owner lab.Tenant
	next  http.Handler
}

// startDoorman puts one before the registry: whatever is started later has it
// for the origin.
func startDoorman(ctx context.Context, l *lab.Lab) (*doorman, error) {
	upstream, err := url.Parse(l.Registry.Endpoint)
	if err != nil {
		return nil, err
	}
	at := l.Net.Origin
	transport := &http.Transport{DialContext: at.Dial, DisableCompression: true}
	d := &doorman{owner: lab.Alice(), next: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream) }, Transport: transport,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}}
	listener, err := at.Listen(ctx, at.At(doorPort))
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: d, ReadHeaderTimeout: maxPull}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	l.OnClose(func(context.Context) error {
		err := server.Close()
		transport.CloseIdleConnections()
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	})
	l.Registry.Endpoint = "http://" + at.At(doorPort)
	return d, nil
}

// ServeHTTP asks for the password of what is private.
func (d *doorman) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v2/"+privatePrefix) && r.Header.Get("Authorization") != d.owner.Basic() {
		w.Header().Set("WWW-Authenticate", `Basic realm="lab"`)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"show the owner's password"}]}`)) // the client may have gone
		return
	}
	r.Header.Del("Authorization")
	d.next.ServeHTTP(w, r)
}
