package access

import (
	"strings"
	"unicode"

	"github.com/p2pd/p2pd/internal/secret"
)

// maxReason bounds what is logged of a registry's words, in bytes.
const maxReason = 300

// clean makes words of a registry fit for a line of a log. A registry that
// repeats the credential that it was sent finds it taken out.
func clean(s string, credential secret.Value) string {
	if !credential.IsZero() {
		_, token, _ := strings.Cut(credential.Reveal(), " ")
		s = strings.ReplaceAll(s, token, "[redacted]")
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if s = strings.TrimSpace(s); len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	return s
}
