package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseUsage(t *testing.T) {
	const stat = "12 (a (b) c) S 1 12 12 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 9 0 100 1 2 3"
	const status = "Name:\ta\nVmPeak:\t  900 kB\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\n"
	got, err := parseUsage(stat, status)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Usage{CPU: 2 * time.Second, RSS: 200 << 10, PeakRSS: 300 << 10}, got); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
	if _, err := parseUsage("12 (a) S", status); err == nil {
		t.Error("a short stat is accepted")
	}
}

func TestScrape(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "# HELP x y\nx{a=\"b c\"} 1.5e+06\ny 2\n\n")
	}))
	defer s.Close()
	m, err := scrape(t.Context(), s.Client(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Metrics{`x{a="b c"}`: 1.5e6, "y": 2}, m); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if _, err := m.Of("z"); err == nil {
		t.Error("a metric that is not there has a value")
	}
}

// bare is a lab with a folder and nothing else.
func bare(t *testing.T) *Lab {
	t.Helper()
	l := &Lab{Dir: t.TempDir()}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestProcessLife(t *testing.T) {
	l := bare(t)
	p, err := l.Start(Place{}, Spec{Name: "sleeper", Args: []string{"/bin/sh", "-c", "echo up; exec sleep 60"}})
	if err != nil {
		t.Fatal(err)
	}
	up := func(context.Context) error {
		if p.LogTail() != "up" {
			return errors.New("not up")
		}
		return nil
	}
	if err := p.WaitReady(t.Context(), up); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Usage(); err != nil {
		t.Error(err)
	}
	if err := p.Stop(); err != nil || !p.Ended() {
		t.Errorf("stop: %v, ended: %v", err, p.Ended())
	}
	if err := p.Stop(); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

func TestWaitReadyTellsOfAnEarlyEnd(t *testing.T) {
	l := bare(t)
	p, err := l.Start(Place{}, Spec{Name: "broken", Args: []string{"/bin/sh", "-c", "echo no such key; exit 2"}})
	if err != nil {
		t.Fatal(err)
	}
	err = p.WaitReady(t.Context(), func(context.Context) error { return errors.New("not up") })
	if err == nil || !strings.Contains(err.Error(), "no such key") {
		t.Errorf("error does not hold the log: %v", err)
	}
}

func TestForward(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	defer s.Close()
	l := bare(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	from := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.forward(from, s.Listener.Addr().String(), 1e9); err != nil {
		t.Fatal(err)
	}
	resp, err := Place{}.HTTPClient().Post("http://"+from, "text/plain", strings.NewReader("there and back"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "there and back" {
		t.Errorf("got %q, %v", b, err)
	}
}

// What dead runs left is found; what runs, or is another's, is not.
func TestLeftOvers(t *testing.T) {
	dir := t.TempDir()
	const dead = 1 << 30 // above any pid
	for _, name := range []string{
		fmt.Sprintf("p2pd-lab-%d-1", dead), fmt.Sprintf("p2pd-lab-%d-1", os.Getpid()), "p2pd-lab-x-1", "other",
	} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{fmt.Sprintf("p2pd-lab-%d-1", dead)}, leftOvers(dir)); diff != "" {
		t.Errorf("left over (-want +got):\n%s", diff)
	}
}
