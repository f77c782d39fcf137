package daemon_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/daemon"
)

// pageAt runs a scheduler whose page others see.
func pageAt(t *testing.T, page daemon.PageConfig) (*daemon.Hub, error) {
	t.Helper()
	cfg := daemon.DefaultHubConfig()
	cfg.Listen, cfg.HTTP.Listen, cfg.Admin.Listen, cfg.Membership.Mode = "127.0.0.1:0", "127.0.0.1:0", "", "open"
	cfg.Page = page
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	h, err := daemon.NewHub(cfg, "v0.0.0-test", logger(t))
	if err == nil {
		start(t, h.Run)
	}
	return h, err
}

// Others see the page, with TLS or without, and by a token all that it shows; they
// change nothing, and a token that is taken out of the file is good no more.
func TestThePageForOthers(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	for scheme, with := range map[string]daemon.ServerTLS{"http": {}, "https": {CertFile: cert, KeyFile: key}} {
		file := filepath.Join(t.TempDir(), "page.token")
		h, err := pageAt(t, daemon.PageConfig{Listen: "127.0.0.1:0", TLS: with, TokenFile: file})
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		token := strings.TrimSpace(string(b))
		client := &http.Client{Timeout: patience, Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // who it is does not matter here
		}}
		ask := func(method, path, token string) (int, string) {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), method, scheme+"://"+h.PageAddr().String()+path, strings.NewReader(`{"for":"1h","reason":"x"}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			return res.StatusCode, string(body)
		}
		for _, want := range []struct {
			method, path, token string
			status              int
			part                string
		}{
			{http.MethodGet, "/", "", http.StatusOK, "<title>p2pd</title>"},
			{http.MethodGet, api.Prefix + "/status", token, http.StatusOK, "v0.0.0-test"},
			{http.MethodGet, api.Prefix + "/status", "", http.StatusUnauthorized, "page.tokenFile"},
			{http.MethodPost, api.Prefix + "/peers/x/ban", token, http.StatusForbidden, "admin.listen"},
			{http.MethodPost, api.Prefix + "/preheats", token, http.StatusForbidden, "nothing can be changed"},
		} {
			if status, body := ask(want.method, want.path, want.token); status != want.status || !strings.Contains(body, want.part) {
				t.Errorf("%s %s: %d %s, want %d and %q", want.method, want.path, status, body, want.status, want.part)
			}
		}
		if err := os.WriteFile(file, []byte("# "+token+"\nanother-token-of-some-length\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, _ := ask(http.MethodGet, api.Prefix+"/status", token); status != http.StatusUnauthorized {
			t.Errorf("a token that was taken back: %d", status)
		}
	}
}

// What cannot work, or would show tokens to others unasked, is refused by its key.
func TestPageConfig(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	pair := daemon.ServerTLS{CertFile: cert, KeyFile: key}
	token := filepath.Join(t.TempDir(), "token")
	for _, tt := range []struct {
		page daemon.PageConfig
		want string
	}{
		{daemon.PageConfig{Listen: "0.0.0.0:0", TokenFile: token}, "page.listen"},
		{daemon.PageConfig{Listen: "nowhere", TokenFile: token}, "page.listen"},
		{daemon.PageConfig{Listen: "127.0.0.1:0"}, "page.tokenFile"},
		{daemon.PageConfig{Listen: "127.0.0.1:0", TokenFile: filepath.Join(cert, "x")}, "page.tokenFile"},
		{daemon.PageConfig{TLS: daemon.ServerTLS{CertFile: cert}}, "page.tls.certFile"},
		{daemon.PageConfig{Listen: "127.0.0.1:0", TLS: daemon.ServerTLS{CertFile: key, KeyFile: cert}, TokenFile: token}, "page.tls"},
	} {
		if _, err := pageAt(t, tt.page); err == nil || !strings.HasPrefix(err.Error(), tt.want+": ") {
			t.Errorf("%+v: %v, want %q", tt.page, err, tt.want)
		}
	}
	for _, page := range []daemon.PageConfig{{Listen: "0.0.0.0:0", TLS: pair, TokenFile: token}, {Listen: "0.0.0.0:0", Plaintext: true, TokenFile: token}} {
		cfg := daemon.DefaultHubConfig()
		cfg.Page = page
		if err := cfg.Validate(); err != nil {
			t.Errorf("%+v: %v", page, err)
		}
	}
}
