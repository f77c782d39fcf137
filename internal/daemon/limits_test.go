package daemon

import (
	"log/slog"
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		cfg      LimitsConfig
		up, down int64
	}{
		"none":                       {LimitsConfig{}, 0, 0},
		"each its own":               {LimitsConfig{Upload: 5, Download: 7}, 5, 7},
		"a share of the line":        {LimitsConfig{Line: 1000, Reserve: Room{Percent: 20}}, 800, 800},
		"an amount of the line":      {LimitsConfig{Line: 1000, Reserve: Room{Bytes: 300}}, 700, 700},
		"the tighter one":            {LimitsConfig{Upload: 5, Download: 900, Line: 1000, Reserve: Room{Percent: 20}}, 5, 800},
		"something is always left":   {LimitsConfig{Line: 1, Reserve: Room{Percent: 99}}, 1, 1},
		"a line without any reserve": {LimitsConfig{Line: 1000}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLimits(one.cfg, slog.New(slog.DiscardHandler))
			if l.upload.Rate() != one.up || l.download.Rate() != one.down {
				t.Errorf("up %d, down %d; want %d, %d", l.upload.Rate(), l.download.Rate(), one.up, one.down)
			}
		})
	}
}

func TestAReserveOfAllIsRefused(t *testing.T) {
	t.Parallel()
	c := DefaultNodeConfig()
	c.Limits = LimitsConfig{Line: 1000, Reserve: Room{Bytes: 1000}}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "limits.reserve") || !strings.Contains(err.Error(), "reserve less") {
		t.Errorf("got %v", err)
	}
}
