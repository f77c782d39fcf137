package ctl

import (
	"regexp"
	"strings"

	"github.com/p2pd/p2pd/internal/secret"
)

var (
	// setting is a line that sets something, in YAML, TOML or JSON: how far it
	// is indented, what it is called, and its value.
	setting = regexp.MustCompile(`^(\s*(?:- )?)("?[\w.-]+"?\s*[:=]\s*)(\S.*)$`)
	// secretName is what secrets are called.
	secretName = regexp.MustCompile(`(?i)password|passwd|secret|token|credential|authorization|cookie|api[_-]?key|private[_-]?key`)
	// privateKey is one in PEM.
	privateKey = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----`)
)

const struckOut = "[redacted]"

// redact strikes out what looks like a secret. What only names the file of one
// stays.
func redact(text string) string {
	text = privateKey.ReplaceAllString(text, struckOut)
	var b strings.Builder
	block := -1 // indentation of a secret whose value are the lines below
	for line := range strings.Lines(text) {
		indent := len(line) - len(strings.TrimLeft(line, " \t"))
		if block >= 0 && (indent > block || strings.TrimSpace(line) == "") {
			continue
		}
		block = -1
		m := setting.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m == nil || !isSecret(m[2]) || isOpening(m[3]) {
			b.WriteString(line)
			continue
		}
		if m[3][0] == '|' || m[3][0] == '>' {
			block = indent
		}
		b.WriteString(m[1] + m[2] + struckOut + "\n")
	}
	return secret.Strike(b.String())
}

// isSecret reports whether the name of a setting is one of a secret's.
func isSecret(name string) bool {
	return secretName.MatchString(name) && !strings.Contains(strings.ToLower(name), "file")
}

// isOpening reports whether a value holds others, or nothing: there is nothing
// to hide in it, and what it holds is looked at by itself.
func isOpening(value string) bool {
	v := strings.TrimRight(value, ", ")
	return v == "{" || v == "[" || v == "{}" || v == "[]" || v == `""` || v == "null" || strings.HasPrefix(v, "#")
}
