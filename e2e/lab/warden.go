package lab

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
)

// Warden stands before a registry and changes what it says: as Harbor does,
// which withholds manifests by a policy, or as one does that sends clients to
// another token server.
type Warden struct {
	Endpoint string

	mu       sync.Mutex // guards what follows
	withheld string     // a repository; empty: none
	from, to string     // what is replaced in challenges
}

// WardenMessage is what a policy says, to be found in errors and logs.
const WardenMessage = "current image with 3 vulnerabilities cannot be pulled due to configured policy"

// StartWarden puts one before a registry, at a port of the origin's place.
func (l *Lab) StartWarden(ctx context.Context, before *Registry, port int) (*Warden, error) {
	upstream, err := url.Parse(before.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("start a warden: %w", err)
	}
	at := l.Net.Origin
	transport := &http.Transport{DialContext: at.Dial, DisableCompression: true}
	w := &Warden{Endpoint: "http://" + at.At(port)}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream) }, ModifyResponse: w.modify, Transport: transport,
	}
	l.OnClose(func(context.Context) error {
		transport.CloseIdleConnections()
		return nil
	})
	return w, l.serve(ctx, at, port, &http.Server{Handler: proxy})
}

// Withhold has the manifests of a repository withheld from whoever may see
// them; empty: of none.
func (w *Warden) Withhold(repository string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.withheld = repository
}

// Mislead replaces a realm in challenges by another.
func (w *Warden) Mislead(from, to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.from, w.to = from, to
}

// modify comes after the registry's own judgement: a policy is told to those
// only who may pull.
func (w *Warden) modify(r *http.Response) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := r.Header.Get("WWW-Authenticate"); c != "" && w.from != "" {
		r.Header.Set("WWW-Authenticate", strings.ReplaceAll(c, w.from, w.to))
	}
	if w.withheld == "" || r.StatusCode != http.StatusOK || !strings.HasPrefix(r.Request.URL.Path, "/v2/"+w.withheld+"/manifests/") {
		return nil
	}
	text := fmt.Sprintf(`{"errors":[{"code":"PROJECTPOLICYVIOLATION","message":%q}]}`+"\n", WardenMessage)
	r.Body.Close()
	r.StatusCode, r.Status = http.StatusPreconditionFailed, "412 Precondition Failed"
	r.Header = http.Header{"Content-Type": {"application/json"}}
	r.ContentLength = int64(len(text))
	r.Header.Set("Content-Length", fmt.Sprint(len(text)))
	body := strings.NewReader(text)
	if r.Request.Method == http.MethodHead {
		body = strings.NewReader("")
	}
	r.Body = io.NopCloser(body)
	return nil
}
