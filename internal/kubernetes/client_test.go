package kubernetes

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// server is an API server that answers one path with a function.
func server(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewTLSServer(answer)
	t.Cleanup(s.Close)
	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "token")
	write(t, ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	write(t, token, []byte("the-schedulers-own\n"))
	c, err := New(Config{URL: s.URL, CAFile: ca, TokenFile: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The answers are those of a real API server, shortened.
func TestReview(t *testing.T) {
	const user = `"user":{"username":"system:serviceaccount:p2pd:p2pd-node","uid":"1","groups":["system:serviceaccounts"],` +
		`"extra":{"authentication.kubernetes.io/node-name":["worker-1"],"authentication.kubernetes.io/pod-name":["p2pd-x"]}}`
	for name, one := range map[string]struct {
		status string
		want   Account
		refuse bool
	}{
		"genuine":        {`{"authenticated":true,"audiences":["p2pd"],` + user + `}`, Account{"p2pd/p2pd-node", "worker-1"}, false},
		"not genuine":    {`{"error":"token has expired"}`, Account{}, true},
		"other audience": {`{"authenticated":true,"audiences":["https://kubernetes.default.svc"],` + user + `}`, Account{}, true},
		"no audience":    {`{"authenticated":true,` + user + `}`, Account{}, true},
		"a person":       {`{"authenticated":true,"audiences":["p2pd"],"user":{"username":"alice"}}`, Account{}, true},
		"odd name":       {`{"authenticated":true,"audiences":["p2pd"],"user":{"username":"system:serviceaccount:p2pd"}}`, Account{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := server(t, func(w http.ResponseWriter, r *http.Request) {
				var asked review
				if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || r.Method != http.MethodPost ||
					r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" || r.Header.Get("Authorization") != "Bearer the-schedulers-own" ||
					asked.Spec.Token != "jwt" || len(asked.Spec.Audiences) != 1 || asked.Spec.Audiences[0] != "p2pd" {
					t.Errorf("asked %s %s %+v, %v", r.Method, r.URL, asked, err)
				}
				w.WriteHeader(http.StatusCreated)
				_, _ = w.Write([]byte(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":` + one.status + `}`))
			})
			got, err := c.Review(t.Context(), "jwt", "p2pd")
			if got != one.want || errors.Is(err, ErrRefused) != one.refuse || !one.refuse && err != nil {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestNoAnswerIsNoRefusal(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"forbidden": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"message":"cannot create resource tokenreviews"}`))
		},
		"not JSON":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"redirected": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := server(t, answer).Review(t.Context(), "jwt", "p2pd")
			unsure, ok := errors.AsType[UnsureError](err)
			if !ok || !unsure.Unsure() || errors.Is(err, ErrRefused) {
				t.Errorf("got %v", err)
			}
			if name == "forbidden" && !strings.Contains(err.Error(), "cannot create") {
				t.Errorf("%v does not say why", err)
			}
			if strings.Contains(err.Error(), "jwt") {
				t.Errorf("%v shows the token", err)
			}
		})
	}
}

func TestAFileWithoutCertificatesIsNotTaken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.crt")
	write(t, file, []byte("none"))
	if _, err := New(Config{URL: "https://127.0.0.1:1", CAFile: file}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}
