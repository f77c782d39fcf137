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
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// ParseBytes reads an amount of bytes.
func ParseBytes(s string) (Bytes, error) {
	number, unit := strings.TrimSpace(s), int64(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || !(v >= 0) || v*float64(unit) > 1<<62 {
		return 0, fmt.Errorf("%q is not an amount of bytes; write 1048576, 512MB or 20GiB", s)
	}
	return Bytes(v * float64(unit)), nil
}

// String writes b so that ParseBytes reads it back, with the largest binary
// unit that divides it.
func (b Bytes) String() string {
	for _, u := range []int{3, 2, 1, 0} { // TiB first
		if u := byteUnits[u]; b != 0 && int64(b)%u.bytes == 0 {
			return strconv.FormatInt(int64(b)/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

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

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bytes) UnmarshalJSON(p []byte) error {
	s := string(p)
	if len(p) > 0 && p[0] == '"' {
		if err := json.Unmarshal(p, &s); err != nil {
			return err
		}
	}
	return b.Set(s)
}

// Duration is a time.Duration written as 20s or 1m30s.
type Duration time.Duration

// String writes d as Set reads it.
func (d Duration) String() string { return time.Duration(d).String() }

// Set implements pflag.Value.
func (d *Duration) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration; write 20s or 1m30s", s)
	}
	*d = Duration(v)
	return nil
}

// Type implements pflag.Value.
func (*Duration) Type() string { return "duration" }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(p []byte) error {
	var s string
	if err := json.Unmarshal(p, &s); err != nil {
		s = string(p)
	}
	return d.Set(s)
}

// Registries are upstream registries; on the command line HOST=URL,...
type Registries []RegistryConfig

// String writes r as Set reads it.
func (r *Registries) String() string {
	parts := make([]string, len(*r))
	for i, reg := range *r {
		parts[i] = reg.Host
		if reg.Endpoint != "" {
			parts[i] += "=" + reg.Endpoint
		}
	}
	return strings.Join(parts, ",")
}

// Set implements pflag.Value.
func (r *Registries) Set(s string) error {
	var all Registries
	for part := range strings.SplitSeq(s, ",") {
		if host, endpoint, _ := strings.Cut(strings.TrimSpace(part), "="); host != "" {
			all = append(all, RegistryConfig{Host: host, Endpoint: endpoint})
		}
	}
	*r = all
	return nil
}

// Type implements pflag.Value.
func (*Registries) Type() string { return "list" }
