package origin

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// Whatever a config.json says, it is refused or gives a login, and never runs
// anything or fails in another way.
func FuzzDockerLogin(f *testing.F) {
	for _, s := range []string{
		`{"auths":{"a.test":{"auth":"YTpi"}}}`, `{"auths":{"https://a.test/v2/":{"username":"u","password":"p"}}}`,
		`{"auths":{"a.test/repo":{"identitytoken":"t"}},"credsStore":"x"}`, `{"auths":{"*.test":{"auth":"Og=="}}}`, `{}`, `[]`, `{"auths":{"":{}}}`, "\xff",
	} {
		f.Add(s, "a.test/")
	}
	f.Add(`{"auths":{"a.test/x":{"registrytoken":"r"}}}`, "a.test/x/y/")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content, target string) {
		file := filepath.Join(dir, "config.json")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := dockerLogin(file, target); err != nil && (err.Error() == "" || !reflect.DeepEqual(l, login{})) {
			t.Errorf("refused with %q and login %v", err, l)
		}
	})
}
