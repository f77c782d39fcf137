package lab

import (
	"fmt"
	"strconv"
	"strings"
)

// Rate is a speed in bits a second. 0 is unshaped. It reads and prints as tc
// does ("100mbit"), and is a flag by flag.TextVar.
type Rate int64

// Size is an amount of bytes, written 200MiB.
type Size int64

type unit struct {
	suffix string
	factor int64
}

var (
	rateUnits = []unit{{"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}
	sizeUnits = []unit{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}
)

// BytesPerSecond is the rate in the unit of bounds and daemon limits.
func (r Rate) BytesPerSecond() float64 { return float64(r) / 8 }

// String implements fmt.Stringer.
func (r Rate) String() string {
	if r == 0 {
		return "unshaped"
	}
	return format(int64(r), rateUnits)
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rate) UnmarshalText(text []byte) error {
	if s := string(text); s == "0" || s == "unshaped" {
		*r = 0
		return nil
	}
	v, err := parse(string(text), rateUnits, "100mbit")
	*r = Rate(v)
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String implements fmt.Stringer.
func (s Size) String() string { return format(int64(s), sizeUnits) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	v, err := parse(string(text), sizeUnits, "200MiB")
	*s = Size(v)
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func parse(text string, units []unit, example string) (int64, error) {
	for _, u := range units {
		number, ok := strings.CutSuffix(strings.ToLower(text), strings.ToLower(u.suffix))
		if !ok {
			continue
		}
		v, err := strconv.ParseInt(number, 10, 64)
		if err != nil || v <= 0 || v > (1<<62)/u.factor {
			break
		}
		return v * u.factor, nil
	}
	return 0, fmt.Errorf("%q is not understood; write %s", text, example)
}

// format writes v in the largest unit that divides it.
func format(v int64, units []unit) string {
	for _, u := range units {
		if v%u.factor == 0 && v != 0 {
			return fmt.Sprintf("%d%s", v/u.factor, u.suffix)
		}
	}
	return "0" + units[len(units)-1].suffix
}
