package preheat

import (
	"testing"

	"github.com/p2pd/p2pd/internal/api"
)

func TestRules(t *testing.T) {
	t.Parallel()
	push := Happening{On: OnPush, Registry: host, Repository: "prod/team/app", Tag: "v1.2"}
	scan := func(severity string) Happening {
		h := push
		h.On, h.Severity = OnScan, severity
		return h
	}
	for _, tt := range []struct {
		name string
		rule Rule
		h    Happening
		want bool
	}{
		{"all", Rule{}, push, true},
		{"by name", Rule{Registry: host, Repository: "prod/team/app", Tag: "v1.2"}, push, true},
		{"by pattern", Rule{Registry: "*.test", Repository: "prod/*/app", Tag: "v*"}, push, true},
		{"a star is no slash", Rule{Repository: "prod/*"}, push, false},
		{"two are", Rule{Repository: "prod/**"}, push, true},
		{"another repository", Rule{Repository: "dev/**"}, push, false},
		{"another tag", Rule{Tag: "latest"}, push, false},
		{"another registry", Rule{Registry: "other.test"}, push, false},
		{"another happening", Rule{On: []string{OnScan}}, push, false},
		{"one of both", Rule{On: []string{OnPush, OnScan}}, push, true},
		{"a scan without a word", Rule{On: []string{OnScan}}, scan(""), false},
		{"a clean one", Rule{On: []string{OnScan}}, scan("None"), true},
		{"one that is not", Rule{On: []string{OnScan}}, scan("Low"), false},
		{"one that will do", Rule{On: []string{OnScan}, MaxSeverity: "medium"}, scan("Low"), true},
		{"one that will not", Rule{On: []string{OnScan}, MaxSeverity: "medium"}, scan("High"), false},
		{"one that nobody knows", Rule{On: []string{OnScan}, MaxSeverity: "critical"}, scan("Unknown"), false},
	} {
		if err := tt.rule.Check(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := len(Requests([]Rule{tt.rule, tt.rule}, tt.h)); got > 1 || got == 1 != tt.want {
			t.Errorf("%s: %d jobs, want one: %v", tt.name, got, tt.want)
		}
	}
	three := Requests([]Rule{{Selector: "gpu"}, {Selector: "gpu"}, {Selector: "spot"}, {}}, push)
	if len(three) != 3 || three[0].Selector != "gpu" || three[1].Selector != "spot" || three[2].Selector != "" {
		t.Errorf("rules by selector: %+v", three)
	}
	two := Requests([]Rule{{Scope: api.PreheatAll, Zones: []string{"a"}}, {Percentage: 5}}, push)
	if len(two) != 2 || two[0].Image != host+"/prod/team/app:v1.2" || two[0].Zones[0] != "a" || two[1].Percentage != 5 {
		t.Errorf("two rules: %+v", two)
	}
	for _, bad := range []Rule{{Tag: "["}, {On: []string{"pull"}}, {MaxSeverity: "bad"}, {Scope: "most"}, {Percentage: 101}, {Selector: " "}} {
		if bad.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}
