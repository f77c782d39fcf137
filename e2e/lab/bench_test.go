package lab

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestRunPhases(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	var ran []string
	phase := func(name string, err error) Phase {
		return Phase{name, func(context.Context) error { ran = append(ran, name); return err }}
	}
	all := []Phase{phase("a", nil), phase("b", broken), phase("c", nil)}
	if got := PhaseNames(all); got != "a,b,c" {
		t.Errorf("names %q", got)
	}
	for names, want := range map[string]struct {
		ran  []string
		says string
	}{
		"c,a":   {[]string{"c", "a"}, ""},
		"a,b,c": {[]string{"a", "b"}, "b: broken"},
		"a,x":   {nil, `there is no "x"; there are a,b,c`},
		"":      {nil, `there is no ""`},
	} {
		ran = nil
		err := RunPhases(t.Context(), all, names)
		if !slices.Equal(ran, want.ran) || (err == nil) != (want.says == "") || err != nil && !strings.Contains(err.Error(), want.says) {
			t.Errorf("%q ran %v, %v", names, ran, err)
		}
	}
}
