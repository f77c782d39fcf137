package ctl

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"password: hunter2\n":                                               "password: [redacted]\n",
		"  - registryToken = \"abc\"\n":                                     "  - registryToken = [redacted]\n",
		"\"apiKey\": \"abc\",\n":                                            "\"apiKey\": [redacted]\n",
		"tokenFile: /etc/token\n":                                           "tokenFile: /etc/token\n",
		"credentials:\n  user: me\n  password: x\n":                         "credentials:\n  user: me\n  password: [redacted]\n",
		"secret: |\n  one\n\n  two\nnext: 1\n":                              "secret: [redacted]\nnext: 1\n",
		"Authorization = [\"Basic dXNlcjpwYXNz\"]\n":                        "Authorization = [redacted]\n",
		"sent Bearer abcdefgh.ijkl to it\n":                                 "sent Bearer [redacted] to it\n",
		"server = \"https://me:pass@r.test/v2\"\n":                          "server = \"https://[redacted]@r.test/v2\"\n",
		"a\n-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\nb\n": "a\n[redacted]\nb\n",
		"listen: 0.0.0.0:7310\n":                                            "listen: 0.0.0.0:7310\n",
	} {
		if got := redact(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// A bundle has what there is, names what there is not, and has no secret.
func TestSupportBundle(t *testing.T) {
	dir := t.TempDir()
	const planted = "planted-secret"
	for name, text := range map[string]string{
		"config/p2pd.yaml":              "registries:\n- host: r.test\n  password: " + planted + "\n",
		"config/key":                    planted,
		"certs.d/r.test/hosts.toml":     "[host.\"http://127.0.0.1:7300\".header]\n  Authorization = \"Bearer " + planted + "\"\n",
		"certs.d/r.test/hosts.toml.bak": planted,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	metrics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "p2pd_peers 1\n") }))
	defer metrics.Close()
	out := filepath.Join(dir, "b.tar.gz")
	args := []string{
		"support-bundle", "-f", out, "--config-dir", dir + "/config", "--certs-dir", dir + "/certs.d", "--metrics", metrics.URL,
		"--server", "unix://" + dir + "/none", "--node", p2pd().serve(t),
	}
	code, stdout, stderr := run(t, args...)
	if code != 0 || stdout != out+"\n" {
		t.Fatalf("%d %q %q", code, stdout, stderr)
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	files := untar(t, out)
	for name, part := range map[string]string{
		"version.txt": "p2pctl", "node/status.json": "v1.2.4", "node/cache.json": app, "node/downloads.json": app, "node/explain.json": app,
		"config/p2pd.yaml": "host: r.test", "certs.d/r.test/hosts.toml": "127.0.0.1:7300", "metrics-1.txt": "p2pd_peers 1",
		"errors.txt": "scheduler: the scheduler does not answer",
	} {
		if !strings.Contains(files["p2pd-support/"+name], part) {
			t.Errorf("%s does not have %q: %q", name, part, files["p2pd-support/"+name])
		}
	}
	for name, text := range files {
		if strings.Contains(text, planted) {
			t.Errorf("%s has the secret", name)
		}
	}
	if code, _, stderr := run(t, args...); code != 1 || !strings.Contains(stderr, "exists") {
		t.Errorf("a second one over the first: %d %q", code, stderr)
	}
}

func untar(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(b)
	}
}
