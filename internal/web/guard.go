package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
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
	return ByTokens(func() ([]secret.Value, error) { return []secret.Value{token}, nil })
}

// ByTokens lets in who shows one of those that are good now.
func ByTokens(good func() ([]secret.Value, error)) Guard {
	return func(r *http.Request) (string, error) {
		tokens, err := good()
		if err != nil {
			return "", fmt.Errorf("the tokens cannot be read: %w", err)
		}
		kind, shown, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(shown)))
		same := false
		for _, token := range tokens {
			// Sums have one length, so that the comparison's time tells nothing.
			want := sha256.Sum256([]byte(token.Reveal()))
			same = subtle.ConstantTimeCompare(got[:], want[:]) == 1 && !token.IsZero() || same
		}
		if !same || !strings.EqualFold(kind, "Bearer") {
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
