package access

import (
	"encoding/base64"
	"strings"

	"github.com/p2pd/p2pd/internal/secret"
)

// maxCredential bounds an Authorization header. Tokens of cloud registries
// have a few KiB.
const maxCredential = 16 << 10

// credentialOf is what of a request's Authorization headers is fit to be
// shown to the origin: one Bearer token or, where the operator chose so, one
// user with a password. Anything else counts as none, and is never sent on.
func credentialOf(m Mode, headers []secret.Value) secret.Value {
	if len(headers) != 1 || len(headers[0].Reveal()) > maxCredential {
		return secret.Value{}
	}
	scheme, rest, _ := strings.Cut(headers[0].Reveal(), " ")
	rest = strings.Trim(rest, " ")
	switch {
	case strings.EqualFold(scheme, "bearer") && isToken68(rest):
		return secret.New("Bearer " + rest)
	case strings.EqualFold(scheme, "basic") && m == Basic:
		plain, err := base64.StdEncoding.DecodeString(rest)
		if err == nil && strings.Contains(string(plain), ":") {
			return secret.New("Basic " + rest)
		}
	}
	return secret.Value{}
}

// isToken68 is the grammar of tokens in headers (RFC 9110 §11.2).
func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~+/", r)
	}) < 0
}
