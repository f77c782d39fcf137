package egress

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; nothing that works comes near it.
const patience = 20 * time.Second

// direct is no proxy, whatever the environment says.
func direct(*http.Request) (*url.URL, error) { return nil, nil }

// nameServer answers what names resolve to, in memory. What a name resolves to
// may change with each question: the last one stays.
type nameServer struct {
	mu    sync.Mutex
	names map[string][][]string // of each answer in turn, addresses
	asked map[string]int
}

func names(of map[string][][]string) *nameServer {
	return &nameServer{names: of, asked: make(map[string]int)}
}

// resolver asks the server over a pipe: DNS by TCP, as it is no packet
// connection.
func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go s.serve(there)
		return here, nil
	}}
}

func (s *nameServer) serve(c net.Conn) {
	defer c.Close()
	for {
		var length [2]byte
		if _, err := readFull(c, length[:]); err != nil {
			return
		}
		query := make([]byte, int(length[0])<<8|int(length[1]))
		if _, err := readFull(c, query); err != nil {
			return
		}
		answer, err := s.answer(query)
		if err != nil {
			return
		}
		out := append([]byte{byte(len(answer) >> 8), byte(len(answer))}, answer...)
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

func readFull(c net.Conn, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = c.Read(p[n:])
		n += m
	}
	return n, err
}

func (s *nameServer) answer(query []byte) ([]byte, error) {
	var q dnsmessage.Message
	if err := q.Unpack(query); err != nil {
		return nil, err
	}
	question := q.Questions[0]
	q.Response, q.Authoritative, q.Additionals = true, true, nil
	for _, a := range s.addresses(question) {
		addr := netip.MustParseAddr(a)
		h := dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class}
		switch {
		case addr.Is4() && question.Type == dnsmessage.TypeA:
			q.Answers = append(q.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: addr.As4()}})
		case addr.Is6() && question.Type == dnsmessage.TypeAAAA:
			q.Answers = append(q.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	return q.Pack()
}

func (s *nameServer) addresses(q dnsmessage.Question) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.TrimSuffix(q.Name.String(), ".")
	turns := s.names[name]
	if len(turns) == 0 {
		return nil
	}
	key := name + q.Type.String() // both types are asked for at once
	turn := min(s.asked[key], len(turns)-1)
	s.asked[key]++
	return turns[turn]
}
