package daemon

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bytes is an amount of bytes, written as a number or as 512MB, 20GiB.
type Bytes int64

var byteUnits = []struct {
	suffix string
	factor float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// ParseBytes reads an amount of bytes.
func ParseBytes(s string) (Bytes, error) {
	number, factor := strings.TrimSpace(s), 1.0
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || v < 0 || v*factor > 1<<62 || v != v {
		return 0, fmt.Errorf("%q is not an amount of bytes; write 1048576, 512MB or 20GiB", s)
	}
	return Bytes(v * factor), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bytes) UnmarshalJSON(p []byte) error {
	s := strings.Trim(string(p), `"`)
	v, err := ParseBytes(s)
	*b = v
	return err
}

// String, Set and Type make Bytes a command-line flag.
func (b *Bytes) String() string { return strconv.FormatInt(int64(*b), 10) }

// Set implements pflag.Value.
func (b *Bytes) Set(s string) error {
	v, err := ParseBytes(s)
	if err == nil {
		*b = v
	}
	return err
}

// Type implements pflag.Value.
func (*Bytes) Type() string { return "bytes" }

// Duration is a time.Duration written as 20s or 1m30s.
type Duration time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(p []byte) error {
	var s string
	if err := json.Unmarshal(p, &s); err != nil {
		return fmt.Errorf("%s is not a duration; write 20s or 1m30s", p)
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration; write 20s or 1m30s", s)
	}
	*d = Duration(v)
	return nil
}

// String, Set and Type make Duration a command-line flag.
func (d *Duration) String() string { return time.Duration(*d).String() }

// Set implements pflag.Value.
func (d *Duration) Set(s string) error {
	return d.UnmarshalJSON([]byte(strconv.Quote(s)))
}

// Type implements pflag.Value.
func (*Duration) Type() string { return "duration" }
