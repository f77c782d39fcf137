package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"

	"github.com/p2pd/p2pd/internal/secret"
)

// Guard says who makes a request, in words for the record, or why it is
// refused. What it says of a refusal is told to whoever asks.
type Guard func(r *http.Request) (who string, err error)

// errNoToken says the same whether there is no token or a false one.
var errNoToken = errors.New("this needs the admin token: Authorization: Bearer TOKEN")

// ByToken lets in who shows the token.
func ByToken(token secret.Value) Guard {
	want := sha256.Sum256([]byte(token.Reveal()))
	return func(r *http.Request) (string, error) {
		kind, shown, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(shown)))
		// Sums have one length, so that the comparison's time tells nothing.
		same := subtle.ConstantTimeCompare(got[:], want[:]) == 1
		if !same || !strings.EqualFold(kind, "Bearer") || token.IsZero() {
			return "", errNoToken
		}
		return "token from " + r.RemoteAddr, nil
	}
}

// BySocket lets everybody in: it is for a socket whose file mode says who
// reaches it. who names the other end.
func BySocket(who func(r *http.Request) string) Guard {
	return func(r *http.Request) (string, error) { return who(r), nil }
}
