package transport

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
)

func TestIdentityIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "key")
	made, err := loadIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("key file has mode %04o", got)
	}
	read, err := loadIdentity(path)
	if err != nil || !read.Equals(made) {
		t.Errorf("second start has another identity, %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("directory holds %v, %v", left, err)
	}
}

func TestIdentityIsRefused(t *testing.T) {
	other, _, err := crypto.GenerateECDSAKeyPair(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecdsa, err := crypto.MarshalPrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(newKeyFile(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		content []byte
		mode    os.FileMode
		want    string
	}{
		{"others may read", good, 0o604, "want 0600"},
		{"group may read", good, 0o640, "want 0600"},
		{"group may write", good, 0o620, "want 0600"},
		{"another type", ecdsa, 0o600, "want Ed25519"},
		{"empty", nil, 0o600, "key file"},
		{"cut short", good[:20], 0o600, "key file"},
		{"garbage", []byte("-----BEGIN PRIVATE KEY-----"), 0o600, "key file"},
	} {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, c.content, c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
		if _, err := loadIdentity(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != string(c.content) {
			t.Errorf("%s: the file was changed", c.name)
		}
	}
	if _, err := loadIdentity(t.TempDir()); err == nil {
		t.Error("a directory was taken for a key")
	}
}

func newKeyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if _, err := loadIdentity(path); err != nil {
		t.Fatal(err)
	}
	return path
}
