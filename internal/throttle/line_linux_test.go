package throttle

import (
	"os"
	"path/filepath"
	"testing"
)

const routeTable = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth1	0000FEA9	00000000	0001	0	0	0	0000FFFF	0	0	0
eth0	00000000	0102000A	0003	0	0	100	00000000	0	0	0
`

func TestLine(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		routes, speed string
		want          int64
	}{
		"known":         {routeTable, "10000\n", 1.25e9},
		"not known":     {routeTable, "-1\n", 0},
		"odd":           {routeTable, "fast\n", 0},
		"no default":    {routeTable[:len(routeTable)-len("eth0	00000000	0102000A	0003	0	0	100	00000000	0	0	0\n")], "10000\n", 0},
		"strange name":  {"x\n../../../eth0 00000000 0 3 0 0 0 00000000 0 0 0\n", "10000\n", 0},
		"no such table": {"", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			write(t, filepath.Join(root, "proc/net/route"), one.routes)
			write(t, filepath.Join(root, "sys/class/net/eth0/speed"), one.speed)
			got, err := line(root)
			if got != one.want || (err == nil) != (one.want > 0) {
				t.Errorf("got %d, %v", got, err)
			}
		})
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
