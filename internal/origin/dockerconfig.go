package origin

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/p2pd/p2pd/internal/secret"
)

// dockerAuth is an entry below "auths".
type dockerAuth struct {
	Auth          string `json:"auth"` // base64 of USERNAME:PASSWORD
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// dockerLogin finds the credentials for a target, HOST/REPOSITORY/, in a
// config.json. Of several entries that fit, the longest one counts; without
// any there are none. HOST/ alone asks whether the file is about that host at
// all. A file that has helpers run programs is refused: what it
// means is not in it.
func dockerLogin(file, target string) (login, error) {
	b, err := readSmall(file)
	if err != nil {
		return login{}, err
	}
	var f struct {
		Auths       map[string]dockerAuth `json:"auths"`
		CredsStore  string                `json:"credsStore"`
		CredHelpers map[string]string     `json:"credHelpers"`
	}
	if json.Unmarshal(b, &f) != nil { // its error may quote what it read
		return login{}, fmt.Errorf("%s is no config.json of Docker's", file)
	}
	if f.CredsStore != "" || len(f.CredHelpers) > 0 {
		return login{}, fmt.Errorf("%s has credsStore or credHelpers, which p2pd does not run; write the credentials below auths, or use credentials.file", file)
	}
	var best string
	var entry dockerAuth
	mentioned := false // the target's host, be it for other repositories
	for name, a := range f.Auths {
		at := dockerTarget(name)
		mentioned = mentioned || strings.HasPrefix(at, target)
		if strings.HasPrefix(target, at) && len(at) > len(best) {
			best, entry = at, a
		}
	}
	if isHost := strings.Count(target, "/") == 1; isHost && !mentioned && !strings.HasPrefix(target, "*") {
		return login{}, fmt.Errorf("%s has nothing below auths for %s; add it, or remove credentials from that registry", file, strings.TrimSuffix(target, "/"))
	}
	l, err := entry.login()
	if err != nil {
		return login{}, fmt.Errorf("%s: auths: %s: %w", file, strings.TrimSuffix(best, "/"), err)
	}
	return l, nil
}

// dockerTarget is what an entry's name is for: HOST/ or HOST/PATH/.
func dockerTarget(name string) string {
	for _, scheme := range []string{"https://", "http://"} {
		name = strings.TrimPrefix(name, scheme)
	}
	host, path, _ := strings.Cut(name, "/")
	path = strings.Trim(path, "/")
	if path == "v1" || path == "v2" {
		path = "" // of the API, not of a repository
	}
	at := CanonicalHost(host) + "/"
	if path != "" {
		at += path + "/"
	}
	return at
}

func (a dockerAuth) login() (login, error) {
	l := login{a.Username, secret.New(a.Password), secret.New(a.IdentityToken), secret.New(a.RegistryToken)}
	if a.Auth == "" {
		return l, nil
	}
	b, err := base64.StdEncoding.DecodeString(a.Auth)
	if err != nil {
		b, err = base64.RawStdEncoding.DecodeString(a.Auth)
	}
	user, password, ok := strings.Cut(strings.TrimRight(string(b), "\x00"), ":")
	if err != nil || !ok {
		return login{}, errors.New("auth is not base64 of USERNAME:PASSWORD")
	}
	l.username = user
	if password != "" || l.identity.IsZero() {
		l.password = secret.New(password)
	}
	return l, nil
}
