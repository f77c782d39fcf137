package secret

import "regexp"

var (
	// bearer is a credential of HTTP wherever it stands, inURL one in an
	// address, and jwt a token by itself (RFC 7519; its header is an object).
	bearer = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}`)
	inURL  = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s"'@]+@`)
	jwt    = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?`)
)

// Strike strikes out of a text what looks like a credential. It is for texts of
// others, such as what a registry answers: nothing of ours puts one there.
func Strike(text string) string {
	text = bearer.ReplaceAllString(text, "$1 "+redacted)
	text = jwt.ReplaceAllString(text, redacted)
	return inURL.ReplaceAllString(text, "${1}"+redacted+"@")
}
