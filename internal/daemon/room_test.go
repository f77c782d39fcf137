package daemon_test

import (
	"strings"
	"testing"

	"github.com/p2pd/p2pd/internal/daemon"
)

func TestRoom(t *testing.T) {
	for s, want := range map[string]daemon.Room{
		`1GiB`: {Bytes: 1 << 30}, `"10%"`: {Percent: 10}, `0`: {}, `"2.5 %"`: {Percent: 2.5}, `"0%"`: {}, `512`: {Bytes: 512},
	} {
		got := daemon.Room{Bytes: 7}
		if err := got.UnmarshalJSON([]byte(s)); err != nil || got != want {
			t.Errorf("%s reads as %v, %v, want %v", s, got, err, want)
		}
		var again daemon.Room
		if err := again.Set(got.String()); err != nil || again != got {
			t.Errorf("%v is written %s, which reads as %v, %v", got, got.String(), again, err)
		}
	}
	for _, s := range []string{``, `""`, `100%`, `-1%`, `NaN%`, `%`, `x%`, `-1`, `{}`} {
		got := daemon.Room{Bytes: 7}
		if err := got.UnmarshalJSON([]byte(s)); err == nil || !strings.Contains(err.Error(), "10%") || got.Bytes != 7 {
			t.Errorf("%s reads as %v, %v", s, got, err)
		}
	}
}
