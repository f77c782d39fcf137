package ctl

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/cri/critest"
)

// What the runtime does is told, what it made is removed whatever happened, and
// an image that was there before stays.
func TestCheckStarts(t *testing.T) {
	all := []string{"pull r.test/app:1", "pod", "container /bin/true x", "start", "stop pod", "remove pod", "remove image"}
	for name, tt := range map[string]struct {
		runtime       *critest.Runtime
		served        int64
		check, result string
		says          string
		did           []string
	}{
		"all is well": {&critest.Runtime{}, 5, "a container starts from it", resultOK, "", all},
		"p2pd gave":   {&critest.Runtime{}, 5, "the runtime pulls the image", resultOK, "", all},
		"past p2pd":   {&critest.Runtime{}, 0, "the runtime pulls the image", resultWarning, "took nothing from p2pd", all},
		"it fails":    {&critest.Runtime{Exit: 3}, 5, "a container starts from it", resultError, "ended with 3", all},
		"no pull":     {&critest.Runtime{PullErr: errors.New("not found")}, 5, "the runtime pulls the image", resultError, "the runtime says: not found", []string{"pull r.test/app:1", "remove image"}},
		"it was there": {&critest.Runtime{Has: true}, 0, "the runtime pulls the image", resultOK, "",
			[]string{"pull r.test/app:1", "pod", "container /bin/true x", "start", "stop pod", "remove pod"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSound(t)
			s.status.Served = 100
			tt.runtime.Pulled = func() { s.status.Served += tt.served }
			// The registry does not exist: that is found too, and is no matter here.
			_, found := s.check(t, "--image", "r.test/app:1", "--start", "--cri-socket", tt.runtime.Serve(t), "--command", "/bin/true,x", "--timeout", "10s")
			c := found[tt.check]
			if c.Result != tt.result || !strings.Contains(c.Error, tt.says) {
				t.Errorf("%+v, want %s about %q", c, tt.result, tt.says)
			}
			if !slices.Equal(tt.runtime.Did(), tt.did) {
				t.Errorf("it was told to\n%q, want\n%q", tt.runtime.Did(), tt.did)
			}
			if left := found["nothing of it is left"]; left.Result != resultOK {
				t.Errorf("%+v", left)
			}
		})
	}
	if code, _, err := run(t, "check", "--start"); code != 2 || !strings.Contains(err, "--image") {
		t.Errorf("--start without an image: %d %q", code, err)
	}
}

// A configuration that was changed after the runtime was started is told of: the
// runtime is this process, and the file is younger.
func TestCheckFindsAConfigurationThatIsNotLoaded(t *testing.T) {
	const description = "containerd was started after its configuration was changed"
	s := newSound(t)
	s.written = time.Now().Add(time.Hour)
	_, found := s.check(t, "--cri-socket", (&critest.Runtime{}).Serve(t))
	if c := found[description]; c.Result != resultWarning || !strings.Contains(c.Error, "config.toml was changed") || !strings.Contains(c.Error, "restarted") {
		t.Errorf("%+v", c)
	}
	_, found = s.check(t, "--cri-socket", filepath.Join(t.TempDir(), "none"))
	if c := found[description]; c.Result != resultSkipped {
		t.Errorf("where there is no runtime: %+v", c)
	}
}
