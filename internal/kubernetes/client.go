package kubernetes

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// mounted is where a pod has its service account.
	mounted = "/var/run/secrets/kubernetes.io/serviceaccount"
	// askTimeout bounds one request.
	askTimeout = 5 * time.Second
	// maxAnswer bounds what is read of an answer: a node's object has some
	// ten kilobytes.
	maxAnswer = 4 << 20
)

// Config says how to reach an API server.
type Config struct {
	URL string // https://HOST:PORT
	// CAFile has the certificates that the server's is checked against.
	CAFile string
	// TokenFile has the token to ask with. It is read each time: it changes.
	TokenFile string
}

// Client asks one API server. It may be used from many goroutines.
type Client struct {
	cfg  Config
	http *http.Client
}

// InCluster is for the API server of the cluster that this pod runs in.
func InCluster() (*Client, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("this is no pod of a Kubernetes cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set")
	}
	return New(Config{
		URL:    "https://" + net.JoinHostPort(host, port),
		CAFile: filepath.Join(mounted, "ca.crt"), TokenFile: filepath.Join(mounted, "token"),
	})
}

// New makes a client. No proxy of the environment is used.
func New(cfg Config) (*Client, error) {
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("API server's certificates: %w", err)
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("API server's certificates: none in %s", cfg.CAFile)
	}
	return &Client{cfg: cfg, http: &http.Client{
		Timeout: askTimeout,
		Transport: &http.Transport{ //nolint:forbidigo // the API server of this cluster, whose certificate is known
			TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// UnsureError is a failure to get an answer, as opposed to an answer.
type UnsureError struct{ err error }

// Error implements error.
func (e UnsureError) Error() string { return "cannot ask the API server: " + e.err.Error() }

// Unwrap returns the cause.
func (e UnsureError) Unwrap() error { return e.err }

// Unsure says that asking again may help.
func (UnsureError) Unsure() bool { return true }

// errAbsent is within the error for what the API server does not have.
var errAbsent = errors.New("there is none")

// AnswerError is an answer that refuses. It is within an UnsureError: what the answer
// means, the caller knows.
type AnswerError struct {
	Status  int    // of HTTP
	Message string // in the API server's words
}

// Error implements error.
func (e *AnswerError) Error() string { return e.Message }

// HTTPStatus is the status of the answer.
func (e *AnswerError) HTTPStatus() int { return e.Status }

// do asks and decodes the answer into out.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	body, err := c.ask(ctx, method, path, "application/json", in)
	if err != nil {
		return err
	}
	defer body.Close()
	answer, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	if err != nil {
		return UnsureError{err}
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return UnsureError{fmt.Errorf("%s %s: %w", method, path, err)}
	}
	return nil
}

// ask asks for an answer of a kind (Accept), which the caller closes. One that refuses
// is an error.
func (c *Client) ask(ctx context.Context, method, path, kind string, in any) (io.ReadCloser, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.cfg.URL+path, body)
	if err != nil {
		return nil, UnsureError{err}
	}
	token, err := os.ReadFile(c.cfg.TokenFile)
	if err != nil {
		return nil, UnsureError{err}
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	req.Header.Set("Accept", kind)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, UnsureError{err}
	}
	if res.StatusCode/100 == 2 {
		return res.Body, nil
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, UnsureError{err}
	}
	if res.StatusCode == http.StatusNotFound {
		return nil, UnsureError{fmt.Errorf("%s %s: %w: %s", method, path, errAbsent, message(answer))}
	}
	return nil, UnsureError{fmt.Errorf("%s %s: %s: %w", method, path, res.Status, &AnswerError{res.StatusCode, message(answer)})}
}

// message is what an answer that refuses says to people.
func message(answer []byte) string {
	var status struct{ Message string }
	if json.Unmarshal(answer, &status) == nil && status.Message != "" {
		return status.Message
	}
	const shown = 200
	return fmt.Sprintf("%.*q", shown, answer)
}
