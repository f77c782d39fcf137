package daemon_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/daemon"
)

func TestDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		`20s`: 20 * time.Second, `"1m30s"`: 90 * time.Second, `0`: 0, `1.5h`: 90 * time.Minute, `"5ms"`: 5 * time.Millisecond,
	} {
		var got daemon.Duration
		if err := got.UnmarshalJSON([]byte(s)); err != nil || time.Duration(got) != want {
			t.Errorf("%s reads as %s, %v, want %s", s, got, err, want)
		}
	}
	for _, s := range []string{``, `""`, `20`, `-1s`, `"1 s"`, `soon`, `{}`, `1e9h`} {
		got := daemon.Duration(7)
		err := got.UnmarshalJSON([]byte(s))
		if err == nil || !strings.Contains(err.Error(), "write 20s or 1m30s") || got != 7 {
			t.Errorf("%s reads as %s, %v", s, got, err)
		}
	}
}

func TestRegistriesOnTheCommandLine(t *testing.T) {
	for s, want := range map[string]daemon.Registries{
		"":                                nil,
		"quay.io":                         {{Host: "quay.io"}},
		" a.b , c.d:5000=http://10.0.0.1": {{Host: "a.b"}, {Host: "c.d:5000", Endpoint: "http://10.0.0.1"}},
		"a.b=https://x/?q=1":              {{Host: "a.b", Endpoint: "https://x/?q=1"}},
		",,a.b,":                          {{Host: "a.b"}},
	} {
		got := daemon.Registries{{Host: "what was there before"}}
		if err := got.Set(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", s, diff)
		}
	}
}

// What is read is in range, and reads the same once it is written.
func FuzzBytes(f *testing.F) {
	for _, s := range []string{"0", "1048576", "512MB", "20GiB", "1.5 KiB", "4EiB", "4194304TiB", "8388608TiB", "0x1p4", "-0", "inf", "1e18", ".5kB", "9007199254740993"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := daemon.ParseBytes(s)
		if err != nil {
			if !strings.Contains(err.Error(), "write 1048576, 512MB or 20GiB") {
				t.Errorf("%q: the complaint says no way out: %v", s, err)
			}
			return
		}
		if b < 0 || b > 1<<62 {
			t.Errorf("%q reads as %d", s, b)
		}
		if back, err := daemon.ParseBytes(b.String()); err != nil || back != b {
			t.Errorf("%q reads as %d, is written %s, which reads as %d, %v", s, b, b, back, err)
		}
		var j daemon.Bytes
		if err := j.UnmarshalJSON([]byte(b.String())); err != nil || j != b {
			t.Errorf("%s in a file reads as %d, %v", b, j, err)
		}
	})
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"0", "20s", "1m30s", "-1ns", "2562047h47m16.854775807s", "1e9h", "µs", `"5ms"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d daemon.Duration
		if err := d.Set(s); err != nil {
			if d != 0 {
				t.Errorf("%q is refused, yet sets %s", s, d)
			}
			return
		}
		var back daemon.Duration
		if err := back.Set(d.String()); d < 0 || err != nil || back != d {
			t.Errorf("%q reads as %d, is written %s, which reads as %d, %v", s, d, d, back, err)
		}
	})
}
