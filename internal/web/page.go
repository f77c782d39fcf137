package web

import (
	"embed"
	"io/fs"
	"net/http"
	"strings"
)

// The live page of a scheduler. Its files tell nothing of the cluster, so that
// everybody may have them; what it shows it asks for as any other client, with
// the token that it is given.

//go:embed ui
var files embed.FS

// policy lets the page load its own files and ask its own server, and nothing
// else; no other page may frame it (CSP level 3).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const pagePrefix = "/ui/"

// newPage serves the page's files.
func newPage() http.Handler {
	sub, err := fs.Sub(files, "ui")
	if err != nil {
		panic(err) // the name is a constant, and valid
	}
	serve := http.StripPrefix(pagePrefix, http.FileServerFS(sub))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		serve.ServeHTTP(w, r)
	})
}

// isPage reports whether a request is for the page's files.
func isPage(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, pagePrefix) }
