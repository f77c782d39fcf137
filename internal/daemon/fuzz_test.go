package daemon_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"

	"github.com/p2pd/p2pd/internal/daemon"
)

// Whatever a configuration file says, it is refused with words or gives a
// configuration that is valid, and says the same when it is read again.
func FuzzConfigFile(f *testing.F) {
	for _, name := range []string{"p2pd.yaml", "scheduler.yaml"} {
		b, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, s := range []string{"", "store: {keepFree: 10%, capacity: -1}", "store: {keepFree: NaN%}", "registries: [{host: a, endpoint: ':'}]", "\x00", "a: &a [*a]", "mirror: 7", "access: {modes: {'*': open}}"} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		file := filepath.Join(dir, "fuzz.yaml")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		load := func(c daemon.Config) error {
			fs := pflag.NewFlagSet("", pflag.ContinueOnError)
			c.Flags(fs)
			return daemon.Load(c, daemon.Sources{File: file, Prefix: "X_", LookupEnv: func(string) (string, bool) { return "", false }, Flags: fs})
		}
		for _, c := range []daemon.Config{new(daemon.NodeConfig), new(daemon.HubConfig)} {
			err := load(c)
			if err != nil && err.Error() == "" {
				t.Error("it is refused without a word")
			}
			if err == nil && c.Validate() != nil {
				t.Errorf("it was taken and is not valid: %v", c.Validate())
			}
		}
	})
}

// What is read is in range, and reads the same once it is written.
func FuzzRoom(f *testing.F) {
	for _, s := range []string{"1GiB", "10%", "0%", "99.999999%", "1e-300%", "100%", "-0%", "%", " 5 % ", "0x1p4%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var r daemon.Room
		if r.Set(s) != nil {
			if r != (daemon.Room{}) {
				t.Errorf("%q is refused, yet sets %v", s, r)
			}
			return
		}
		var back daemon.Room
		if err := back.Set(r.String()); err != nil || back != r || r.Bytes < 0 || r.Percent < 0 || r.Percent >= 100 {
			t.Errorf("%q reads as %+v, is written %s, which reads as %+v, %v", s, r, r.String(), back, err)
		}
	})
}
