package egress

import (
	"errors"
	"fmt"
	"net/http"
)

// MaxRedirects is how often a registry may send us on: to its storage, and
// that to a nearer one.
const MaxRedirects = 5

// CheckRedirect is for http.Client.CheckRedirect. A redirect leads from https
// to https, takes no credential to another host, and does not tell where it
// came from, which may be a signed address.
func CheckRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > MaxRedirects {
		return fmt.Errorf("more than %d redirects", MaxRedirects)
	}
	last := via[len(via)-1].URL
	if last.Scheme == "https" && req.URL.Scheme != "https" {
		return errors.New("redirect from https to " + req.URL.Scheme + " refused")
	}
	if req.URL.User != nil {
		return errors.New("redirect with a user refused")
	}
	req.Header.Del("Referer")
	if HostPort(last.Scheme, last.Host) != HostPort(req.URL.Scheme, req.URL.Host) {
		// net/http keeps them for a host's subdomains.
		for _, h := range []string{"Authorization", "Www-Authenticate", "Cookie", "Cookie2"} {
			req.Header.Del(h)
		}
	}
	return nil
}
