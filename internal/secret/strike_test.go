package secret

import "testing"

// Credentials are struck out wherever they stand; words that only sound like it
// are not.
func TestStrike(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Authorization: Bearer abcdefgh12345":                             "Authorization: Bearer [redacted]",
		"authorization: basic dXNlcjpwYXNz":                               "authorization: basic [redacted]",
		"https://me:pass@registry.test/v2/":                               "https://[redacted]@registry.test/v2/",
		"token eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl is old": "token [redacted] is old",
		"bring a bearer of news, see http://registry.test/a@sha256:1234":  "bring a bearer of news, see http://registry.test/a@sha256:1234",
	} {
		if got := Strike(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
