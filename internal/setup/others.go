package setup

import (
	"bytes"
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

// Podman, CRI-O, Buildah and skopeo share one configuration, by
// containers-registries.conf(5); a mirror there is asked with the registry as
// the beginning of the path, as HOST_PORT if it has a port: a colon would make
// it no repository's name, and the tools refuse it. Docker has one list of
// mirrors, for Docker Hub.
const (
	registriesConf  = "/etc/containers/registries.conf"
	registriesDrops = "/etc/containers/registries.conf.d"
	registriesDrop  = registriesDrops + "/50-p2pd.conf"
	dockerConf      = "/etc/docker/daemon.json"
	// dockerOriginal is Docker's file as it was.
	dockerOriginal = dockerConf + ".p2pd-orig"
	dockerMirrors  = "registry-mirrors"
)

// SetupPodman makes Podman, CRI-O, Buildah and skopeo ask p2pd first for the
// given registries. They have no way to say "all".
func SetupPodman(c Config) ([]Entry, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if slices.Contains(c.Registries, AllRegistries) || c.Enforce {
		return nil, errors.New("name the registries (--registry): this runtime knows no mirror for all of them, and cannot be kept from the registry itself")
	}
	if err := c.podmanConflict(); err != nil {
		return nil, err
	}
	u, err := url.Parse(c.Mirror)
	if err != nil {
		return nil, err
	}
	var body strings.Builder
	for _, r := range c.Registries {
		fmt.Fprintf(&body, "[[registry]]\nprefix = %q\nlocation = %q\n[[registry.mirror]]\nlocation = %q\ninsecure = true\n\n", r, r, u.Host+"/"+strings.Replace(r, ":", "_", 1))
	}
	name := filepath.Join(c.Root, registriesDrop)
	e := Entry{Registry: strings.Join(c.Registries, " "), File: name, State: StateOurs, Note: "written"}
	old, err := c.Files.ReadFile(name)
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	rest, a, _, err := strip(old)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if !exists {
		_, missing, err := missingAbove(c.Files, filepath.Dir(name))
		if err != nil {
			return nil, err
		}
		a = attributes{file: true, dirs: len(missing)}
	}
	text := replace(rest, len(rest), len(rest), body.String(), a)
	if exists && bytes.Equal(text, old) {
		e.Note = "is in place"
		return []Entry{e}, nil
	}
	return []Entry{e}, put(c.Files, name, text, exists)
}

// podmanConflict fails where another file has a word on one of the registries:
// of two tables for one prefix only the later counts.
func (c *Config) podmanConflict() error {
	names, err := c.Files.List(filepath.Join(c.Root, registriesDrops))
	if err != nil {
		return err
	}
	files := []string{registriesConf}
	for _, n := range names {
		if n != filepath.Base(registriesDrop) && strings.HasSuffix(n, ".conf") {
			files = append(files, filepath.Join(registriesDrops, n))
		}
	}
	for _, f := range files {
		text, err := c.Files.ReadFile(filepath.Join(c.Root, f))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		var conf struct {
			Registry []struct{ Prefix, Location string }
		}
		if err := toml.Unmarshal(text, &conf); err != nil {
			return fmt.Errorf("%s is not TOML: %w", f, tomlError(err))
		}
		for _, r := range conf.Registry {
			for _, ours := range c.Registries {
				if r.Prefix == ours || r.Prefix == "" && r.Location == ours {
					return fmt.Errorf("%s has a [[registry]] for %s already, and only one counts: add p2pd's mirror there by hand, or remove it", f, ours)
				}
			}
		}
	}
	return nil
}

// RestorePodman takes that back.
func RestorePodman(c Config) ([]Entry, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	name := filepath.Join(c.Root, registriesDrop)
	text, err := c.Files.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rest, undone, had, err := strip(text)
	if err != nil || !had {
		return nil, err
	}
	e := Entry{File: name, State: StateOther, Note: "removed"}
	if undone.file && len(bytes.TrimSpace(rest)) == 0 {
		return []Entry{e}, takeAway(c.Files, name, undone.dirs)
	}
	e.Note = "restored"
	return []Entry{e}, put(c.Files, name, rest, true)
}

// SetupDocker adds p2pd to Docker's mirrors, which are asked for Docker Hub's
// images only. Docker reads them when it starts or is sent a SIGHUP.
func SetupDocker(c Config) ([]Entry, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	for _, r := range c.Registries {
		if r != AllRegistries && r != "docker.io" {
			return nil, fmt.Errorf("registry %s: Docker has mirrors for docker.io only", r)
		}
	}
	name := filepath.Join(c.Root, dockerConf)
	e := Entry{Registry: "docker.io", File: name, State: StateOurs, Note: "written; Docker has to be restarted"}
	old, err := c.Files.ReadFile(name)
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	text, err := withMirror(old, c.Mirror)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if text == nil {
		e.Note = "is in place"
		return []Entry{e}, nil
	}
	if exists {
		if err := put(c.Files, filepath.Join(c.Root, dockerOriginal), old, false); err != nil {
			return nil, err
		}
	}
	return []Entry{e}, put(c.Files, name, text, exists)
}

// withMirror adds a mirror to Docker's configuration; nil if it is there.
func withMirror(text []byte, mirror string) ([]byte, error) {
	conf := map[string]any{}
	if len(bytes.TrimSpace(text)) > 0 {
		if err := json.Unmarshal(text, &conf); err != nil {
			return nil, fmt.Errorf("is not JSON: %w", err)
		}
	}
	mirrors, ok := conf[dockerMirrors].([]any)
	if !ok && conf[dockerMirrors] != nil {
		return nil, fmt.Errorf("%s is not a list", dockerMirrors)
	}
	if slices.Contains(mirrors, any(mirror)) {
		return nil, nil
	}
	conf[dockerMirrors] = append([]any{mirror}, mirrors...)
	return encodeJSON(conf)
}

func encodeJSON(conf map[string]any) ([]byte, error) {
	text, err := json.MarshalIndent(conf, "", "  ")
	return append(text, '\n'), err
}

// RestoreDocker takes that back: the original, byte for byte, if nobody has
// written since; else the mirror alone.
func RestoreDocker(c Config) ([]Entry, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	name, kept := filepath.Join(c.Root, dockerConf), filepath.Join(c.Root, dockerOriginal)
	now, err := c.Files.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	original, err := c.Files.ReadFile(kept)
	had := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	e := Entry{Registry: "docker.io", File: name, State: StateOther, Note: "restored; Docker has to be restarted"}
	written, err := withMirror(original, c.Mirror)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kept, err)
	}
	switch untouched := bytes.Equal(now, written); {
	case untouched && !had:
		return []Entry{e}, c.Files.Remove(name)
	case untouched:
		err = put(c.Files, name, original, true)
	default:
		err = c.dropMirror(name, now)
	}
	if err != nil || !had {
		return []Entry{e}, err
	}
	return []Entry{e}, c.Files.Remove(kept)
}

// dropMirror takes the mirror out of a file that somebody has edited.
func (c *Config) dropMirror(name string, now []byte) error {
	conf := map[string]any{}
	if err := json.Unmarshal(now, &conf); err != nil {
		return fmt.Errorf("%s is not JSON: %w", name, err)
	}
	mirrors, _ := conf[dockerMirrors].([]any)
	rest := slices.DeleteFunc(slices.Clone(mirrors), func(m any) bool { return m == any(c.Mirror) })
	if len(rest) == len(mirrors) {
		return nil
	}
	conf[dockerMirrors] = rest
	if len(rest) == 0 {
		delete(conf, dockerMirrors)
	}
	text, err := encodeJSON(conf)
	if err != nil {
		return err
	}
	return put(c.Files, name, text, true)
}
