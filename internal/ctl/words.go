package ctl

import (
	"fmt"
	"strings"
	"time"

	"github.com/p2pd/p2pd/internal/api"
)

// How values look to people.

// bytesText is a size with a binary unit, such as 1.5 GiB.
func bytesText(n int64) string {
	if n < 0 {
		return "?"
	}
	v, unit := float64(n), ""
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if v < 1024 {
			break
		}
		v, unit = v/1024, u
	}
	switch {
	case unit == "":
		return fmt.Sprintf("%d B", n)
	case v < 10:
		return fmt.Sprintf("%.1f %s", v, unit)
	}
	return fmt.Sprintf("%.0f %s", v, unit)
}

func rateText(perSecond float64) string {
	if perSecond < 1 {
		return "-"
	}
	return bytesText(int64(perSecond)) + "/s"
}

// shareText is a part of a whole in per cent. All of it is 100 %, and what is
// not all is less.
func shareText(part, whole float64) string {
	if whole <= 0 {
		return "-"
	}
	p := int(100 * part / whole)
	return fmt.Sprintf("%d%%", p)
}

// ageText is a duration in its largest two units.
func ageText(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

func since(t time.Time) string { return ageText(time.Since(t)) }

// shortDigest is enough of a digest to type it again.
func shortDigest(d string) string {
	hex := strings.TrimPrefix(d, "sha256:")
	return hex[:min(12, len(hex))]
}

// shortPeer is the end of a peer's ID: the beginnings are alike.
func shortPeer(id string) string {
	const enough = 12
	if len(id) <= enough {
		return id
	}
	return "…" + id[len(id)-enough:]
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "-"
}

// stateText is a peer's state, in colour.
func (p palette) stateText(state string) string {
	switch state {
	case api.PeerOK:
		return p.good(state)
	case api.PeerSuspect:
		return p.warn(state)
	}
	return p.bad(state)
}
