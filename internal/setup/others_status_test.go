package setup

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStatusOfOthers(t *testing.T) {
	root := node(t, map[string]string{
		"etc/containers/registries.conf":            "[[registry]]\nlocation = \"hand.example\"\n[[registry.mirror]]\nlocation = \"127.0.0.1:7300/hand.example\"\n[[registry]]\nprefix = \"twice.example\"\n",
		"etc/containers/registries.conf.d/a.conf":   "[[registry]]\nprefix = \"twice.example\"\n[[registry.mirror]]\nlocation = \"other:1/twice.example\"\n",
		"etc/containers/registries.conf.d/a.unused": "not TOML",
		"etc/docker/daemon.json":                    `{"registry-mirrors": ["http://other.example"]}`,
	})
	cfg := Config{Files: Disk{}, Root: root, Mirror: testMirror, Registries: []string{"ours.example:5000"}}
	if _, err := SetupPodman(cfg); err != nil {
		t.Fatal(err)
	}
	conf, drops := filepath.Join(root, registriesConf), filepath.Join(root, registriesDrops)
	got, err := StatusPodman(cfg)
	want := []Entry{
		{Registry: "hand.example", File: conf, State: StateByHand},
		{Registry: "ours.example:5000", File: filepath.Join(drops, "50-p2pd.conf"), State: StateOurs},
		{Registry: "twice.example", File: filepath.Join(drops, "a.conf"), State: StateOther},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}

	docker := func(state, note string) {
		t.Helper()
		got, err := StatusDocker(cfg)
		want := []Entry{{Registry: "docker.io", File: filepath.Join(root, dockerConf), State: state, Note: note}}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	docker(StateOther, "")
	cfg.Registries = nil
	if _, err := SetupDocker(cfg); err != nil {
		t.Fatal(err)
	}
	docker(StateOurs, "")
	root = t.TempDir()
	cfg.Root = root
	docker(StateOther, "does not exist")
}
