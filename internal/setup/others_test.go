package setup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

func TestPodman(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"nothing there": {"etc/": ""},
		"drop-ins":      {"etc/containers/registries.conf.d/000-short.conf": "[aliases]\n", "etc/containers/registries.conf": "unqualified-search-registries = [\"docker.io\"]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			root := node(t, files)
			before := tree(t, root)
			cfg := Config{Files: Disk{}, Root: root, Mirror: testMirror, Registries: []string{"docker.io", "reg.example:5000"}}
			for range 2 {
				if _, err := SetupPodman(cfg); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(filepath.Join(root, registriesDrop))
			if err != nil {
				t.Fatal(err)
			}
			var conf struct {
				Registry []struct {
					Prefix string
					Mirror []struct {
						Location string
						Insecure bool
					}
				}
			}
			if err := toml.Unmarshal(text, &conf); err != nil || len(conf.Registry) != 2 || conf.Registry[1].Mirror[0].Location != "127.0.0.1:7300/reg.example_5000" {
				t.Errorf("%v: %+v\n%s", err, conf, text)
			}
			if _, err := RestorePodman(cfg); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, tree(t, root)); diff != "" {
				t.Errorf("restore does not (-before +after):\n%s", diff)
			}
		})
	}
}

func TestPodmanRefusals(t *testing.T) {
	root := node(t, map[string]string{"etc/containers/registries.conf.d/x.conf": "[[registry]]\nlocation = \"docker.io\"\n"})
	cfg := Config{Files: Disk{}, Root: root, Mirror: testMirror, Registries: []string{"docker.io"}}
	if _, err := SetupPodman(cfg); err == nil || !strings.Contains(err.Error(), "x.conf") {
		t.Errorf("a second table for one registry: %v", err)
	}
	cfg.Registries = nil
	if _, err := SetupPodman(cfg); err == nil || !strings.Contains(err.Error(), "--registry") {
		t.Errorf("all registries: %v", err)
	}
}

func TestDocker(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"nothing there": {"etc/docker/": ""},
		"a file":        {"etc/docker/daemon.json": "{\"debug\":true,  \"registry-mirrors\": [\"https://m\"]}"},
		"an empty file": {"etc/docker/daemon.json": "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			root := node(t, files)
			before := tree(t, root)
			cfg := Config{Files: Disk{}, Root: root, Mirror: testMirror}
			for range 2 {
				if _, err := SetupDocker(cfg); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(filepath.Join(root, dockerConf))
			if err != nil || !strings.Contains(string(text), testMirror) {
				t.Errorf("%s, %v", text, err)
			}
			if _, err := RestoreDocker(cfg); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, tree(t, root)); diff != "" {
				t.Errorf("restore does not (-before +after):\n%s", diff)
			}
		})
	}
}

func TestDockerKeepsForeignEdits(t *testing.T) {
	root := node(t, map[string]string{"etc/docker/daemon.json": "{\"debug\": true}\n"})
	cfg := Config{Files: Disk{}, Root: root, Mirror: testMirror}
	if _, err := SetupDocker(cfg); err != nil {
		t.Fatal(err)
	}
	edited := "{\"debug\": false, \"registry-mirrors\": [\"" + testMirror + "\", \"https://theirs\"]}"
	if err := os.WriteFile(filepath.Join(root, dockerConf), []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := RestoreDocker(cfg); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, dockerConf))
	if want := "{\n  \"debug\": false,\n  \"registry-mirrors\": [\n    \"https://theirs\"\n  ]\n}\n"; err != nil || string(text) != want {
		t.Errorf("left %s (%v), want %s", text, err, want)
	}
}
