package daemon

import (
	"fmt"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// Config is the configuration of either program.
type Config interface {
	Flags(fs *pflag.FlagSet)
	Validate() error
}

// Sources is where the values of a configuration come from besides its
// defaults, the weakest first.
type Sources struct {
	// File is a YAML file; empty: none.
	File string
	// Prefix begins the environment's names, and LookupEnv reads them.
	Prefix    string
	LookupEnv func(name string) (string, bool)
	// Flags are those that c.Flags declared, parsed.
	Flags *pflag.FlagSet
}

// Load fills c from its defaults, then what each source says, and validates
// it.
func Load(c Config, from Sources) error {
	given := make(map[string]string)
	var failed error
	each := func(f func(*pflag.Flag) error) {
		from.Flags.VisitAll(func(flag *pflag.Flag) {
			if err := f(flag); err != nil && failed == nil {
				failed = err
			}
		})
	}
	// Parsing has written into c already; that comes last.
	each(func(f *pflag.Flag) error {
		if f.Changed {
			given[f.Name] = f.Value.String()
		}
		return f.Value.Set(f.DefValue)
	})
	if err := loadFile(from.File, c); err != nil {
		return err
	}
	each(func(f *pflag.Flag) error {
		name := envName(from.Prefix, f.Name)
		if v, ok := from.LookupEnv(name); ok {
			if err := f.Value.Set(v); err != nil {
				return fmt.Errorf("environment %s=%q: %w", name, v, err)
			}
		}
		if v, ok := given[f.Name]; ok {
			return f.Value.Set(v)
		}
		return nil
	})
	if failed != nil {
		return failed
	}
	return c.Validate()
}

// loadFile lays a file's keys over c. A key that does not exist is an error,
// so that a typo cannot pass for a setting.
func loadFile(path string, c Config) error {
	if path == "" {
		return nil
	}
	b, err := os.ReadFile(path) //nolint:gosec // the operator names it
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if err := yaml.UnmarshalStrict(b, c); err != nil {
		why := err.Error()
		for _, noise := range []string{"error converting YAML to JSON: ", "error unmarshaling JSON: ", "while decoding JSON: ", "json: "} {
			why = strings.TrimPrefix(why, noise)
		}
		if key, ok := strings.CutPrefix(why, "unknown field "); ok {
			why = "unknown key " + key + "; --help lists what can be set"
		}
		return fmt.Errorf("configuration %s: %s", path, why)
	}
	return nil
}

// flagName is the flag of a key: mirror.defaultRegistry is
// --mirror-default-registry. A last word that says nothing is dropped:
// embeddedScheduler.enabled is --embedded-scheduler, scheduler.address is
// --scheduler.
func flagName(key string) string {
	for _, word := range []string{".enabled", ".address"} {
		key = strings.TrimSuffix(key, word)
	}
	var b strings.Builder
	var last rune
	for _, r := range key {
		switch {
		case r == '.':
			r = '-'
		case unicode.IsUpper(r) && !unicode.IsUpper(last):
			b.WriteByte('-')
		}
		last = r
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// envName is the environment variable of a flag: with the prefix P2PD_,
// --mirror-listen is P2PD_MIRROR_LISTEN.
func envName(prefix, flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
