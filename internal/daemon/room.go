package daemon

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Room is a part of something, a disk or a line: an amount of bytes, or a share
// of the whole as in 10%, for fleets of nodes that differ.
type Room struct {
	Bytes Bytes
	// Percent of the whole, 0 to 100; with it Bytes is 0.
	Percent float64
}

// String writes r as Set reads it.
func (r *Room) String() string {
	if r.Percent > 0 {
		return strconv.FormatFloat(r.Percent, 'f', -1, 64) + "%"
	}
	return r.Bytes.String()
}

// Set implements pflag.Value.
func (r *Room) Set(s string) error {
	number, share := strings.CutSuffix(strings.TrimSpace(s), "%")
	if !share {
		b, err := ParseBytes(s)
		if err != nil {
			return fmt.Errorf("%w, or a share such as 10%%", err)
		}
		*r = Room{Bytes: b}
		return nil
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(v >= 0 && v < 100) {
		return fmt.Errorf("%q is not a share; write 10%%, less than 100%%", s)
	}
	*r = Room{Percent: v}
	return nil
}

// Type implements pflag.Value.
func (*Room) Type() string { return "bytes or percent" }

// UnmarshalJSON implements json.Unmarshaler.
func (r *Room) UnmarshalJSON(p []byte) error {
	s := string(p)
	if len(p) > 0 && p[0] == '"' {
		if err := json.Unmarshal(p, &s); err != nil {
			return err
		}
	}
	return r.Set(s)
}
