package daemon

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/p2pd/p2pd/internal/origin"
)

// fromYAML loads a configuration as the program does.
func fromYAML(t *testing.T, content string) (NodeConfig, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "p2pd.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	c := DefaultNodeConfig()
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.Flags(fs)
	err := Load(&c, Sources{File: file, LookupEnv: func(string) (string, bool) { return "", false }, Flags: fs})
	return c, err
}

func TestRegistriesOfAFile(t *testing.T) {
	got, err := fromYAML(t, `
registries:
  - {host: "registry.lab.test", endpoint: "http://10.77.255.1:5000"}
  - host: docker.io
    endpoints: [https://harbor.example, https://registry-1.docker.io]
    private: true
    tokenHosts: [login.example]
    tls: {caFile: /a, certFile: /b, keyFile: /c, serverName: d}
    serveStale: 24h
    credentials: {file: /e}
  - host: "*.corp.example"
    credentials: {dockerConfig: /f}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := Registries{
		{Host: "registry.lab.test", Endpoint: "http://10.77.255.1:5000"},
		{
			Host: "docker.io", Endpoints: []string{"https://harbor.example", "https://registry-1.docker.io"}, Private: true,
			TokenHosts: []string{"login.example"}, TLS: TLSConfig{"/a", "/b", "/c", "d"}, ServeStale: Duration(24 * time.Hour),
			Credentials: CredentialsConfig{File: "/e"},
		},
		{Host: "*.corp.example", Credentials: CredentialsConfig{DockerConfig: "/f"}},
	}
	if diff := cmp.Diff(want, got.Registries); diff != "" {
		t.Error(diff)
	}
}

// What the example has in comments can be written as it stands there.
func TestTheExampleOfRegistries(t *testing.T) {
	b, err := os.ReadFile("../../docs/p2pd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "\nregistries: []\n")
	if !ok {
		t.Fatal("no registries")
	}
	text := "registries:\n"
	for line := range strings.Lines(rest) {
		inner, commented := strings.CutPrefix(line, "#")
		if !commented {
			break
		}
		text += inner
	}
	c, err := fromYAML(t, text)
	if err != nil || len(c.Registries) != 3 || !c.Registries[2].Private || c.Registries[1].TLS.CAFile == "" {
		t.Errorf("%+v, %v", c.Registries, err)
	}
}

// Each complaint names the key, the value and the way out; all come at once.
func TestRegistriesThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		registries string
		want       []string // of each complaint, in order: key, value, way out
	}{
		{`[{host: "*"}]`, []string{"registries[0].host", `"*"`, "*.SUFFIX"}},
		{`[{host: "a.*.b"}]`, []string{"registries[0].host", "a.*.b", "*.SUFFIX"}},
		{`[{host: "https://a.b"}]`, []string{"registries[0].host", "https://a.b", "HOST:PORT"}},
		{`[{host: docker.io}, {host: registry-1.docker.io}]`, []string{"registries[1].host", "registry-1.docker.io", "remove one"}},
		{`[{host: "*.a.b"}, {host: "*.A.b"}]`, []string{"registries[1].host", "*.A.b", "remove one"}},
		{`[{host: a.b, endpoint: "https://c.d", endpoints: ["https://e.f"]}]`, []string{"registries[0].endpoint", "https://c.d", "first of endpoints"}},
		{`[{host: "*.a.b", endpoint: "https://c.d"}]`, []string{"registries[0].endpoint", "https://c.d", "by its own name"}},
		{`[{host: a.b, endpoints: ["https://c.d", "https://u:secret@e.f"]}]`, []string{"registries[0].endpoints[1]", `"https://e.f"`, "http://HOST"}},
		{`[{host: a.b, endpoint: "http://169.254.169.254"}]`, []string{"registries[0].host", "169.254.169.254", "no registry can be"}},
		{`[{host: a.b, tokenHosts: [c.d, "https://c.d"]}]`, []string{"registries[0].tokenHosts[1]", "https://c.d", "HOST:PORT"}},
		{`[{host: a.b, serveStale: 1000h}]`, []string{"registries[0].serveStale", "1000h", "168h"}},
		{`[{host: a.b, tls: {certFile: /x}}]`, []string{"registries[0].tls.certFile", "/x", "keyFile"}},
		{`[{host: a.b, endpoint: "http://c.d", tls: {caFile: /x}}]`, []string{"registries[0].tls", "a.b", "https://"}},
		{`[{host: a.b, credentials: {file: /x, dockerConfig: /y}}]`, []string{"registries[0].credentials.dockerConfig", "/y", "remove one"}},
		{`[{host: "a b", serveStale: 1000h, tokenHosts: ["/"]}, {host: a.b, endpoint: x}]`, []string{
			"registries[0].host", "a b", "HOST:PORT", "registries[0].serveStale", "1000h", "168h",
			"registries[0].tokenHosts[0]", "/", "HOST:PORT", "registries[1].endpoint", `"x"`, "http://HOST",
		}},
	} {
		_, err := fromYAML(t, "registries: "+c.registries)
		if err == nil {
			t.Errorf("%s passes", c.registries)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines)*3 != len(c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", c.registries, err)
			continue
		}
		for i, want := range c.want {
			line := lines[i/3]
			if i%3 == 0 && !strings.HasPrefix(line, want+": ") || !strings.Contains(line, want) {
				t.Errorf("%s: %q does not have %q", c.registries, line, want)
			}
		}
	}
	for _, key := range []string{"endpiont: x", "tls: {insecureSkipVerify: true}", "credentials: {password: x}", "serveStale: true"} {
		if _, err := fromYAML(t, "registries: [{host: a.b, "+key+"}]"); err == nil {
			t.Errorf("%s passes", key)
		}
	}
}

// A configuration with all of it reaches a registry that wants all of it.
func TestARegistryOfAllKeys(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "node" || password != "hunter2" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(s.Close)
	dir := t.TempDir()
	write := func(name, content string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	ca := write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	docker := write("config.json", `{"auths":{"registry.test":{"username":"node","password":"hunter2"}}}`)
	c := DefaultNodeConfig()
	c.Registries = Registries{{
		Host: "registry.test", Endpoint: s.URL, TLS: TLSConfig{CAFile: ca, ServerName: "example.com"},
		Credentials: CredentialsConfig{DockerConfig: docker},
	}}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	o, err := newOrigin(c.Registries, origin.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.CloseIdle)
	if d, err := o.Resolve(t.Context(), "registry.test", "a/b", "v1"); err != nil || d.Size != 2 {
		t.Errorf("%+v, %v", d, err)
	}
	for name, change := range map[string]func(r *RegistryConfig){
		"ca.pem":      func(r *RegistryConfig) { r.TLS.CAFile = docker },
		"config.json": func(r *RegistryConfig) { r.Credentials.DockerConfig = ca },
		"gone":        func(r *RegistryConfig) { r.Credentials = CredentialsConfig{File: filepath.Join(dir, "gone")} },
	} {
		broken := c
		broken.Registries = Registries{c.Registries[0]}
		change(&broken.Registries[0])
		if _, err := newOrigin(broken.Registries, origin.Config{}); err == nil || !strings.Contains(err.Error(), "registry") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
