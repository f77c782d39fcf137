package daemon

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// keys are the dotted names of a configuration's settings, in the file's
// words.
func keys(v reflect.Type, prefix string) []string {
	var all []string
	for f := range v.Fields() {
		key := prefix + f.Tag.Get("json")
		if f.Type.Kind() == reflect.Struct && !reflect.PointerTo(f.Type).Implements(reflect.TypeFor[pflag.Value]()) {
			all = append(all, keys(f.Type, key+".")...)
		} else {
			all = append(all, key)
		}
	}
	return all
}

var programs = []struct {
	prefix, example string
	config          func() Config
}{
	{"P2PD_", "../../docs/p2pd.yaml", func() Config { c := DefaultNodeConfig(); return &c }},
	{"P2PSCHED_", "../../docs/scheduler.yaml", func() Config { c := DefaultHubConfig(); return &c }},
}

// Each key has a flag, by the rule, and each flag a key.
func TestEveryKeyHasAFlag(t *testing.T) {
	for _, p := range programs {
		var want, got []string
		for _, key := range keys(reflect.TypeOf(p.config()).Elem(), "") {
			want = append(want, flagName(key))
		}
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		p.config().Flags(fs)
		fs.VisitAll(func(f *pflag.Flag) {
			got = append(got, f.Name)
			if err := f.Value.Set(f.DefValue); err != nil {
				t.Errorf("--%s does not take its own default %q: %v", f.Name, f.DefValue, err)
			}
		})
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("flags (-want +got):\n%s", diff)
		}
	}
}

// The example has every key, with its default.
func TestTheExamplesAreTrue(t *testing.T) {
	for _, p := range programs {
		b, err := os.ReadFile(p.example)
		if err != nil {
			t.Fatal(err)
		}
		empty := reflect.New(reflect.TypeOf(p.config()).Elem())
		if err := yaml.UnmarshalStrict(b, empty.Interface()); err != nil {
			t.Fatalf("%s: %v", p.example, err)
		}
		if diff := cmp.Diff(fmt.Sprintf("%+v", reflect.ValueOf(p.config()).Elem()), fmt.Sprintf("%+v", empty.Elem())); diff != "" {
			t.Errorf("%s is not the defaults (-want +got):\n%s", p.example, diff)
		}
		var raw map[string]any
		if err := yaml.Unmarshal(b, &raw); err != nil {
			t.Fatal(err)
		}
		for _, key := range keys(reflect.TypeOf(p.config()).Elem(), "") {
			if !has(raw, strings.Split(key, ".")) {
				t.Errorf("%s does not have %s", p.example, key)
			}
		}
	}
}

func has(m map[string]any, key []string) bool {
	v, ok := m[key[0]]
	if len(key) == 1 || !ok {
		return ok
	}
	inner, ok := v.(map[string]any)
	return ok && has(inner, key[1:])
}

// The tables of docs/configuration.md have every key, its variable and its default.
func TestTheDocumentHasEveryKey(t *testing.T) {
	b, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		p.config().Flags(fs)
		for _, key := range keys(reflect.TypeOf(p.config()).Elem(), "") {
			flag := fs.Lookup(flagName(key))
			def := flag.DefValue
			if def == "" {
				def = " "
			}
			row := fmt.Sprintf("| `%s` | `--%s` | `%s` | `%s` |", key, flag.Name, envName(p.prefix, flag.Name), def)
			row = strings.Replace(row, "` `", "", 1)
			if !strings.Contains(string(b), row) {
				t.Errorf("docs/configuration.md does not have %s", row)
			}
		}
	}
}

func TestFlagName(t *testing.T) {
	for key, want := range map[string]string{
		"listen":                    "listen",
		"mirror.defaultRegistry":    "mirror-default-registry",
		"peer.bulkTLS":              "peer-bulk-tls",
		"scheduler.address":         "scheduler",
		"embeddedScheduler.enabled": "embedded-scheduler",
		"embeddedScheduler.listen":  "embedded-scheduler-listen",
	} {
		if got := flagName(key); got != want {
			t.Errorf("flagName(%q) = %q, want %q", key, got, want)
		}
	}
}
