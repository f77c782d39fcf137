package setup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// StatusPodman says of each registry that the files of Podman and its kin name
// whether p2pd is asked first. Of two tables for one, the later counts.
func StatusPodman(c Config) ([]Entry, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	u, err := url.Parse(c.Mirror)
	if err != nil {
		return nil, err
	}
	names, err := c.Files.List(filepath.Join(c.Root, registriesDrops))
	if err != nil {
		return nil, err
	}
	files := []string{registriesConf}
	for _, n := range slices.Sorted(slices.Values(names)) {
		if strings.HasSuffix(n, ".conf") {
			files = append(files, filepath.Join(registriesDrops, n))
		}
	}
	var entries []Entry
	for _, f := range files {
		name := filepath.Join(c.Root, f)
		text, err := c.Files.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		more, err := podmanEntries(name, text, u.Host)
		if err != nil {
			return nil, fmt.Errorf("%s is not TOML: %w", f, tomlError(err))
		}
		for _, e := range more {
			entries = slices.DeleteFunc(entries, func(old Entry) bool { return old.Registry == e.Registry })
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// podmanEntries are the registries of one file.
func podmanEntries(name string, text []byte, mirror string) ([]Entry, error) {
	var conf struct {
		Registry []struct {
			Prefix, Location string
			Mirror           []struct{ Location string }
		}
	}
	if err := toml.Unmarshal(text, &conf); err != nil {
		return nil, err
	}
	_, _, ours, _ := strip(text) // broken marks are setup's to complain of
	var entries []Entry
	for _, r := range conf.Registry {
		e := Entry{Registry: r.Prefix, File: name, State: StateOther}
		if e.Registry == "" {
			e.Registry = r.Location
		}
		if len(r.Mirror) > 0 && strings.HasPrefix(r.Mirror[0].Location, mirror+"/") {
			e.State = StateByHand
			if ours {
				e.State = StateOurs
			}
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// StatusDocker says whether Docker's configuration names p2pd first.
func StatusDocker(c Config) ([]Entry, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	e := Entry{Registry: "docker.io", File: filepath.Join(c.Root, dockerConf), State: StateOther}
	text, err := c.Files.ReadFile(e.File)
	if errors.Is(err, fs.ErrNotExist) {
		e.Note = "does not exist"
		return []Entry{e}, nil
	}
	if err != nil {
		return nil, err
	}
	var conf struct {
		Mirrors []string `json:"registry-mirrors"`
	}
	if err := json.Unmarshal(text, &conf); err != nil {
		return nil, fmt.Errorf("%s is not JSON: %w", e.File, err)
	}
	switch at := slices.Index(conf.Mirrors, c.Mirror); {
	case at == 0:
		e.State = StateOurs
	case at > 0:
		e.State, e.Note = StateByHand, "other mirrors are asked before"
	}
	return []Entry{e}, nil
}
