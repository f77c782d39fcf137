package egress

import (
	"net"
	"slices"
	"strings"
)

// Hosts holds a value for each of some hosts: HOST or HOST:PORT, or all that
// end like *.SUFFIX or *.SUFFIX:PORT. Of two suffixes the longer one counts,
// and a host's own value before either. The zero value is empty.
type Hosts[T any] struct {
	byName   map[string]T
	suffixes []suffix[T] // the longest first
}

type suffix[T any] struct {
	end   string // ".corp.example", ".corp.example:5000"
	value T
}

// Put sets the value of a host or suffix and reports whether it had none.
func (h *Hosts[T]) Put(pattern string, v T) bool {
	pattern = strings.ToLower(pattern)
	if _, ok := h.exact(pattern); ok {
		return false
	}
	if end, ok := strings.CutPrefix(pattern, "*"); ok {
		h.suffixes = append(h.suffixes, suffix[T]{end, v})
		slices.SortStableFunc(h.suffixes, func(a, b suffix[T]) int { return len(b.end) - len(a.end) })
		return true
	}
	if h.byName == nil {
		h.byName = make(map[string]T)
	}
	h.byName[pattern] = v
	return true
}

// exact is the value that was put for a host or a suffix itself.
func (h *Hosts[T]) exact(pattern string) (v T, ok bool) {
	pattern = strings.ToLower(pattern)
	if end, is := strings.CutPrefix(pattern, "*"); is {
		i := slices.IndexFunc(h.suffixes, func(s suffix[T]) bool { return s.end == end })
		if i < 0 {
			return v, false
		}
		return h.suffixes[i].value, true
	}
	v, ok = h.byName[pattern]
	return v, ok
}

// Get is the value for a host.
func (h *Hosts[T]) Get(host string) (v T, ok bool) {
	host = strings.ToLower(host)
	if v, ok = h.byName[host]; ok {
		return v, true
	}
	for _, s := range h.suffixes {
		if strings.HasSuffix(host, s.end) && len(host) > len(s.end) {
			return s.value, true
		}
	}
	return v, false
}

func (h *Hosts[T]) each(f func(T)) {
	for _, v := range h.byName {
		f(v)
	}
	for _, s := range h.suffixes {
		f(s.value)
	}
}

// HostPort is a URL's host in lower case, with the port that its scheme
// implies if it has none: the name of where a connection goes.
func HostPort(scheme, host string) string {
	host = strings.ToLower(host)
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	port := "443"
	if scheme == "http" {
		port = "80"
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// hostname is HOST of HOST:PORT, without brackets.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.Trim(host, "[]")
}
