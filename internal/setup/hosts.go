package setup

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// hostsFile is what matters of a hosts.toml that is not ours.
type hostsFile struct {
	tables      int // where the first table begins, or the end of the text
	serverFrom  int // the lines of the top-level key server; -1: none
	serverTo    int
	mirror      bool // somebody has a table for our mirror already
	inlineHosts bool // hosts are a value, and no table can be added
	server      string
	first       string // the first host; empty: none has a table
	// capabilities are of our mirror; nil: it says none, and has all.
	capabilities []string
	since        string // the oldest containerd that does not ignore the file; empty: any
}

// newCapability is one that containerd knows only since newCapabilitySince. Any
// other that is not in oldCapabilities no version knows. One that it does not
// know makes containerd ignore the whole file.
const (
	newCapability      = "referrers"
	newCapabilitySince = "2.2"
)

func oldCapabilities() []string { return []string{"pull", "resolve", "push"} }

// readHosts looks at a hosts.toml. containerd ignores one that it can't parse,
// so what can't be parsed is an error.
func readHosts(text []byte, mirror string) (hostsFile, error) {
	h := hostsFile{tables: len(text), serverFrom: -1}
	var values struct {
		Server       string    `toml:"server"`
		Capabilities *[]string `toml:"capabilities"` // of the server
		Host         map[string]struct {
			Capabilities *[]string `toml:"capabilities"`
		} `toml:"host"`
	}
	if err := toml.Unmarshal(text, &values); err != nil {
		return h, fmt.Errorf("is not TOML, so containerd ignores it: %w", tomlError(err))
	}
	h.server = values.Server
	for url, host := range values.Host {
		if host.Capabilities == nil {
			continue
		}
		if err := h.capable(url, *host.Capabilities); err != nil {
			return h, err
		}
		if url == mirror {
			h.capabilities = *host.Capabilities
		}
	}
	if values.Capabilities != nil {
		if err := h.capable("server", *values.Capabilities); err != nil {
			return h, err
		}
	}
	p := &unstable.Parser{}
	p.Reset(text)
	inTable := false
	for p.NextExpression() {
		e := p.Expression()
		keys, at := keysOf(e)
		if at < 0 {
			continue
		}
		line := bytes.LastIndexByte(text[:at], '\n') + 1
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			if !inTable {
				h.tables, inTable = line, true
			}
			if len(keys) >= 2 && keys[0] == "host" {
				h.mirror = h.mirror || keys[1] == mirror
				h.first = cmp.Or(h.first, keys[1])
			}
		case unstable.KeyValue:
			if inTable {
				continue
			}
			switch {
			case keys[0] == "host":
				h.inlineHosts = true
			case len(keys) == 1 && keys[0] == "server":
				h.serverFrom, h.serverTo = line, at+endOfLine(text[at:])
			}
		}
	}
	return h, p.Error()
}

// capable looks at the capabilities of one host.
func (h *hostsFile) capable(host string, capabilities []string) error {
	for _, c := range capabilities {
		switch {
		case slices.Contains(oldCapabilities(), c):
		case c == newCapability:
			h.since = newCapabilitySince
		default:
			return fmt.Errorf("gives %s the capability %q, which there is not, so that containerd ignores the whole file: there are pull, resolve, push and, since %s, %s", host, c, newCapabilitySince, newCapability)
		}
	}
	return nil
}

// drawback is what keeps p2pd from being asked first, and for all; empty:
// nothing.
func (h *hostsFile) drawback(mirror string) string {
	switch {
	case h.capabilities != nil && !(slices.Contains(h.capabilities, "pull") && slices.Contains(h.capabilities, "resolve")):
		return fmt.Sprintf("lets p2pd only %v, of pull and resolve, so that containerd asks elsewhere for the rest: give it both", h.capabilities)
	case h.first != "" && h.first != mirror:
		return "has " + h.first + " asked before p2pd: put p2pd's table first"
	}
	return ""
}

func endOfLine(text []byte) int {
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return i + 1
	}
	return len(text)
}

// keysOf are the parts of an expression's key, and where it begins; -1 for
// an expression without one.
func keysOf(e *unstable.Node) (keys []string, at int) {
	at = -1
	if e.Kind != unstable.Table && e.Kind != unstable.ArrayTable && e.Kind != unstable.KeyValue {
		return nil, at
	}
	for it := e.Key(); it.Next(); {
		if at < 0 {
			at = int(it.Node().Raw.Offset)
		}
		keys = append(keys, string(it.Node().Data))
	}
	return keys, at
}

func tomlError(err error) error {
	if d, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, _ := d.Position()
		return fmt.Errorf("line %d: %w", row, err)
	}
	return err
}

// hostsEdit is what to make of a hosts.toml.
type hostsEdit struct {
	mirror  string // http://127.0.0.1:7300
	server  string // for a new file: the registry itself; empty for _default
	enforce bool   // p2pd is the server, too: nothing goes past it
	header  string // names the node to p2pd; empty: none
}

// apply edits a hosts.toml. It begins from the text without our blocks, so to
// apply again changes nothing.
func (e hostsEdit) apply(text []byte, a attributes) ([]byte, error) {
	h, err := readHosts(text, e.mirror)
	switch {
	case err != nil:
		return nil, err
	case h.inlineHosts:
		return nil, errors.New("has its hosts as one value, and a table cannot be added: write them as tables, [host.\"URL\"]")
	case h.mirror && !e.enforce:
		return text, nil // somebody did it by hand
	case h.mirror:
		return nil, fmt.Errorf("has a table for %s already, which is not p2pd's: remove it, so that setup can write its own", e.mirror)
	}
	out, err := e.tables(text, h, a)
	if err != nil {
		return nil, err
	}
	if err := toml.Unmarshal(out, &map[string]any{}); err != nil {
		return nil, fmt.Errorf("would not be TOML with p2pd's lines in it: %w", tomlError(err))
	}
	return out, nil
}

// tables adds ours before all others, for containerd asks in the file's order,
// and changes server where p2pd is to be it.
func (e hostsEdit) tables(text []byte, h hostsFile, a attributes) ([]byte, error) {
	body := e.table()
	switch {
	case e.enforce && h.serverFrom >= 0:
		out := replace(text, h.tables, h.tables, body, a)
		return replace(out, h.serverFrom, h.serverTo, fmt.Sprintf("server = %q\n", e.mirror), attributes{}), nil
	case e.enforce:
		body = fmt.Sprintf("server = %q\n\n", e.mirror) + body
	case a.file && e.server != "":
		body = fmt.Sprintf("server = %q\n\n", e.server) + body
	}
	return replace(text, h.tables, h.tables, body, a), nil
}

// table is p2pd's. Without "referrers": a capability that containerd before
// 2.2 does not know makes it ignore the whole file. dial_timeout is ignored by
// versions that do not know it.
func (e hostsEdit) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n  dial_timeout = \"1s\"\n", e.mirror)
	if e.header != "" {
		fmt.Fprintf(&b, "  [host.%q.header]\n    X-P2pd-Node = [%q]\n", e.mirror, e.header)
	}
	return b.String()
}
