package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/secret"
)

// answerMost bounds an answer: a page of five hundred members of a swarm of
// thousands of pieces has two MiB.
const answerMost = 64 << 20

// program is one of the two that can be asked.
type program struct {
	name    string // as people call it
	flag    string // that says where it is
	setting string // of its configuration, that says so
}

var (
	theScheduler = program{"the scheduler", "--server", "admin.listen"}
	theNode      = program{"p2pd", "--node", "local.socket"}
)

// client asks one program.
type client struct {
	of      program
	address string // as it was given
	base    string // URL
	http    *http.Client
	token   secret.Value
}

// unreachableError says that nobody answers, and what to do.
type unreachableError struct {
	of      program
	address string
	err     error
}

func (e *unreachableError) Unwrap() error { return e.err }

func (e *unreachableError) Error() string {
	return fmt.Sprintf("%s does not answer at %s: %v\n%s", e.of.name, e.address, root(e.err), e.hint())
}

// root is the innermost error: what is around it repeats the address.
func root(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

func (e *unreachableError) hint() string {
	here := fmt.Sprintf("%s says where it is, if its %s is another", e.of.flag, e.of.setting)
	switch {
	case errors.Is(e.err, fs.ErrNotExist):
		return "there is no such socket: is " + e.of.name + " running on this machine? " + here
	case errors.Is(e.err, fs.ErrPermission):
		return "the socket belongs to whoever runs " + e.of.name + ": run this as root or as that user"
	case errors.Is(e.err, syscall.ECONNREFUSED):
		return "nothing listens there: is " + e.of.name + " running? " + here
	case errors.Is(e.err, context.DeadlineExceeded):
		return "it took too long; --timeout gives it longer"
	}
	return here
}

// scheduler and p2pd are who can be asked.
func (c *cli) scheduler() (*client, error) { return c.client(theScheduler, c.server) }
func (c *cli) p2pd() (*client, error)      { return c.client(theNode, c.node) }

func (c *cli) client(of program, address string) (*client, error) {
	cl := &client{of: of, address: address}
	path, isSocket := strings.CutPrefix(address, "unix://")
	if isSocket {
		cl.base = "http://socket"
		cl.http = &http.Client{Timeout: c.timeout, Transport: &http.Transport{ //nolint:forbidigo // to this machine
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", path) //nolint:forbidigo // to this machine
			},
		}}
		return cl, nil
	}
	host := strings.TrimPrefix(address, "http://")
	if a, err := netip.ParseAddrPort(host); err != nil || !a.Addr().IsLoopback() {
		return nil, usage("%s %s: it is neither unix:///PATH nor an IP:PORT of loopback; the token would cross the network in the clear: forward a port with ssh -L or kubectl port-forward", of.flag, address)
	}
	if c.tokenFile == "" {
		return nil, usage("%s %s wants a token: name its file with --token-file", of.flag, address)
	}
	b, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return nil, usage("--token-file: %w", err)
	}
	cl.base, cl.token = "http://"+host, secret.New(strings.TrimSpace(string(b)))
	cl.http = &http.Client{Timeout: c.timeout, Transport: &http.Transport{DisableKeepAlives: true}} //nolint:forbidigo // to loopback
	return cl, nil
}

// get asks for a path below the interface's prefix.
func (cl *client) get(ctx context.Context, path string, query url.Values, into any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return cl.do(ctx, http.MethodGet, path, nil, into)
}

// do makes a request. Errors are *api.Error where the program refuses, and
// *unreachableError where there is none.
func (cl *client) do(ctx context.Context, method, path string, body, into any) error {
	var send io.Reader = http.NoBody
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		send = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, cl.base+api.Prefix+path, send)
	if err != nil {
		return err
	}
	if !cl.token.IsZero() {
		r.Header.Set("Authorization", "Bearer "+cl.token.Reveal())
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := cl.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &unreachableError{cl.of, cl.address, err}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, answerMost))
	if err != nil {
		return &unreachableError{cl.of, cl.address, err}
	}
	if res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(b, into); err != nil {
			return fmt.Errorf("%s at %s answers what this p2pctl does not understand, so that one of them is older than the other: %w", cl.of.name, cl.address, err)
		}
		return nil
	}
	var e api.Error
	if json.Unmarshal(b, &e) != nil || e.Message == "" {
		e = api.Error{Message: fmt.Sprintf("%s at %s answers %s", cl.of.name, cl.address, res.Status)}
	}
	e.Status = res.StatusCode
	return &e
}

// swarms are all, or as many as limit if that is not 0.
func (cl *client) swarms(ctx context.Context, active bool, limit int) (list api.SwarmList, err error) {
	q := url.Values{"active": {fmt.Sprint(active)}}
	err = pages(limit, q, func() (int, string, error) {
		var page api.SwarmList
		err := cl.get(ctx, "/swarms", q, &page)
		list.Meta, list.Page, list.Items = page.Meta, page.Page, append(list.Items, page.Items...)
		return len(list.Items), page.Next, err
	})
	return list, err
}

// swarm is one with its members, as many as limit if that is not 0.
func (cl *client) swarm(ctx context.Context, digest string, limit int) (d api.SwarmDetail, err error) {
	q := url.Values{}
	var members []api.Membership
	err = pages(limit, q, func() (int, string, error) {
		d = api.SwarmDetail{}
		err := cl.get(ctx, "/swarms/"+digest, q, &d)
		members = append(members, d.MemberItems...)
		return len(members), d.Next, err
	})
	d.MemberItems = members
	return d, err
}

// peers are all, or as many as limit if that is not 0.
func (cl *client) peers(ctx context.Context, limit int) (list api.PeerList, err error) {
	q := url.Values{}
	err = pages(limit, q, func() (int, string, error) {
		var page api.PeerList
		err := cl.get(ctx, "/peers", q, &page)
		list.Meta, list.Page, list.Items = page.Meta, page.Page, append(list.Items, page.Items...)
		return len(list.Items), page.Next, err
	})
	return list, err
}

// pageSize is how many are asked for at a time, the most that there are in one.
const pageSize = 500

// pages calls one for page after page. It returns how many there are so far and
// what the next page begins after; q asks for it.
func pages(limit int, q url.Values, one func() (have int, next string, err error)) error {
	for have := 0; ; {
		size := pageSize
		if limit > 0 {
			size = min(size, limit-have)
		}
		q.Set("limit", fmt.Sprint(size))
		n, next, err := one()
		if err != nil || next == "" || limit > 0 && n >= limit {
			return err
		}
		have = n
		q.Set("after", next)
	}
}

// digestOf is the digest of a swarm that is named in full, or by the first digits
// of it.
func (cl *client) digestOf(ctx context.Context, text string) (string, error) {
	return named(text, "p2pctl swarm ls", func(hex string) (all []string, err error) {
		var page api.SwarmList
		// Keys are in the order of their digits, and zeros come first.
		before := "sha256:" + hex + strings.Repeat("0", digits-len(hex))
		err = cl.get(ctx, "/swarms", url.Values{"after": {before}, "limit": {"2"}}, &page)
		for _, sw := range page.Items {
			all = append(all, sw.Digest)
		}
		return all, err
	})
}

// named is the digest that a text names in full, or by the first digits of it.
// list has those that it may mean, others too; shows is the command that shows
// them.
func named(text, shows string, list func(hex string) ([]string, error)) (string, error) {
	hex := strings.TrimPrefix(text, "sha256:")
	if !isPrefix(hex) {
		return "", usage("%q is neither a digest nor the first digits of one; %s shows them", text, shows)
	}
	if len(hex) == digits {
		return "sha256:" + hex, nil
	}
	all, err := list(hex)
	if err != nil {
		return "", err
	}
	var found []string
	for _, d := range all {
		if strings.HasPrefix(d, "sha256:"+hex) {
			found = append(found, d)
		}
	}
	return only(text, found, shows+" shows what there is")
}

// digits is how many a digest has.
const digits = 64

// isPrefix reports whether s can begin a digest, and is long enough to be meant
// as such.
func isPrefix(s string) bool {
	return len(s) >= 4 && len(s) <= digits && strings.Trim(s, "0123456789abcdef") == ""
}

// only is the one that was found for what was typed.
func only(text string, found []string, hint string) (string, error) {
	switch len(found) {
	case 0:
		return "", fmt.Errorf("nothing begins with %s; %s", text, hint)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%s could be %s or %s; type more of it", text, found[0], found[1])
}
