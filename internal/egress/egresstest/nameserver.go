// Package egresstest has what tests of the way out need: names that resolve to
// what a test wants.
package egresstest

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// NameServer has the addresses of names, in memory. It does not change.
type NameServer map[string][]string

// Resolver asks s. Names that are not there do not exist.
func (s NameServer) Resolver() *net.Resolver {
	return resolver(func(q dnsmessage.Question) []string { return s[hostOf(q)] })
}

// Rebinding is a name whose addresses change: each question of one type gets
// the next answer, and the last one stays.
type Rebinding struct {
	Name    string
	Answers [][]string

	mu    sync.Mutex
	asked map[dnsmessage.Type]int // both types are asked for at once
}

// Resolver asks r.
func (r *Rebinding) Resolver() *net.Resolver {
	return resolver(func(q dnsmessage.Question) []string {
		if hostOf(q) != r.Name {
			return nil
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.asked == nil {
			r.asked = make(map[dnsmessage.Type]int)
		}
		turn := min(r.asked[q.Type], len(r.Answers)-1)
		r.asked[q.Type]++
		return r.Answers[turn]
	})
}

func hostOf(q dnsmessage.Question) string { return strings.TrimSuffix(q.Name.String(), ".") }

// resolver asks over a pipe, which is DNS as it is over TCP.
func resolver(addresses func(dnsmessage.Question) []string) *net.Resolver {
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go serve(there, addresses) // until the resolver closes its end
		return here, nil
	}}
}

func serve(c net.Conn, addresses func(dnsmessage.Question) []string) {
	defer c.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		answer, err := answer(query, addresses)
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

func answer(query []byte, addresses func(dnsmessage.Question) []string) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	q := m.Questions[0]
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	all := addresses(q)
	if len(all) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range all {
		addr, err := netip.ParseAddr(a)
		if err != nil {
			return nil, err
		}
		h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		switch {
		case addr.Is4() && q.Type == dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: addr.As4()}})
		case addr.Is6() && q.Type == dnsmessage.TypeAAAA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	return m.Pack()
}
