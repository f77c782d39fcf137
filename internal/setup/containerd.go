package setup

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// DefaultContainerdConfig is where containerd looks for its configuration.
const DefaultContainerdConfig = "/etc/containerd/config.toml"

const (
	// maxImports bounds the files that a configuration imports.
	maxImports = 64
	// where the image service of CRI has its registries, by the version of
	// the configuration's format: 2 up to containerd 1.7, 3 and 4 since.
	criBefore2 = "io.containerd.grpc.v1.cri"
	criImages  = "io.containerd.cri.v1.images"
)

// containerdConfig is what matters of containerd's configuration.
type containerdConfig struct {
	version    int64
	configPath string
	mirrors    bool // the older way to name mirrors, which excludes ours
	localPull  bool // pulls are CRI's own, not the transfer service's
}

// readContainerd reads a configuration with all that it imports, as containerd
// merges them: what is imported later wins. One that does not exist is empty.
func readContainerd(f Files, root, name string) (containerdConfig, error) {
	merged, err := readMerged(f, root, name, new([]string))
	if err != nil {
		return containerdConfig{}, err
	}
	c := containerdConfig{version: number(merged["version"])}
	plugins := table(merged["plugins"])
	images := table(plugins[criImages])
	if c.version < 3 && len(images) == 0 {
		images = table(plugins[criBefore2])
	}
	registry := table(images["registry"])
	c.configPath, _ = registry["config_path"].(string)
	c.mirrors = len(table(registry["mirrors"])) > 0
	c.localPull = c.version < 3 || truth(images["use_local_image_pull"]) || truth(images["discard_unpacked_layers"]) ||
		c.mirrors || len(table(registry["configs"])) > 0 ||
		images["max_concurrent_downloads"] != nil && number(images["max_concurrent_downloads"]) != 3
	return c, nil
}

// ContainerdFiles are the files that containerd's configuration is read from: the one
// that c names, and all that are imported. Some may not exist.
func ContainerdFiles(c Config) ([]string, error) {
	var read []string
	_, err := readMerged(c.Files, c.Root, cmp.Or(c.ContainerdConfig, DefaultContainerdConfig), &read)
	for i, name := range read {
		read[i] = filepath.Join(c.Root, name)
	}
	return read, err
}

// readMerged reads a file with all that it imports, and adds their names to read.
func readMerged(f Files, root, name string, read *[]string) (map[string]any, error) {
	if *read = append(*read, name); len(*read) > maxImports {
		return nil, fmt.Errorf("%s: more than %d files are imported", name, maxImports)
	}
	text, err := f.ReadFile(filepath.Join(root, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read containerd's configuration: %w", err)
	}
	var merged map[string]any
	if err := toml.Unmarshal(text, &merged); err != nil {
		return nil, fmt.Errorf("%s is not TOML: %w", name, tomlError(err))
	}
	imports, _ := merged["imports"].([]any)
	for _, i := range imports {
		pattern, _ := i.(string)
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(name), pattern)
		}
		names, err := match(f, root, pattern)
		if err != nil {
			return nil, fmt.Errorf("%s imports %q: %w", name, pattern, err)
		}
		for _, n := range names {
			if n == name {
				continue
			}
			more, err := readMerged(f, root, n, read)
			if err != nil {
				return nil, err
			}
			merge(merged, more)
		}
	}
	return merged, nil
}

// match is filepath.Glob for a pattern in the last part of a path, which is
// where containerd's imports have theirs.
func match(f Files, root, pattern string) ([]string, error) {
	dir, last := filepath.Split(pattern)
	if !strings.ContainsAny(last, "*?[") {
		return []string{pattern}, nil
	}
	names, err := f.List(filepath.Join(root, dir))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, n := range names {
		if ok, err := filepath.Match(last, n); err != nil {
			return nil, err
		} else if ok {
			found = append(found, filepath.Join(dir, n))
		}
	}
	return found, nil
}

// merge puts from over into, table by table.
func merge(into, from map[string]any) {
	for k, v := range from {
		if a, b := table(into[k]), table(v); a != nil && b != nil {
			merge(a, b)
			continue
		}
		into[k] = v
	}
}

func table(v any) map[string]any { t, _ := v.(map[string]any); return t }
func number(v any) int64         { n, _ := v.(int64); return n }
func truth(v any) bool           { b, _ := v.(bool); return b }

// certsDir is the folder that containerd reads hosts.toml files from, or why
// it reads none, with what to do about it.
func (c containerdConfig) certsDir(name string) (string, error) {
	section := fmt.Sprintf("[plugins.%q.registry]", criBefore2)
	if c.version >= 3 {
		section = fmt.Sprintf("[plugins.%q.registry]", criImages)
	}
	remedy := fmt.Sprintf("in %s write\n  %s\n    config_path = \"/etc/containerd/certs.d\"\nand restart containerd", name, section)
	switch roots := filepath.SplitList(c.configPath); {
	case c.mirrors:
		return "", fmt.Errorf("%s names mirrors the older way (registry.mirrors), and then containerd reads no hosts.toml: remove them; %s", name, remedy)
	case len(roots) == 0:
		return "", fmt.Errorf("containerd reads no hosts.toml, for %s sets no config_path: %s", name, remedy)
	case len(roots) > 1 && !c.localPull:
		return "", fmt.Errorf("config_path has %d folders (%s), and then containerd's transfer service reads none of them (2.1 to 2.4): name one; %s",
			len(roots), c.configPath, remedy)
	case !filepath.IsAbs(roots[0]):
		return "", fmt.Errorf("config_path %q is not absolute: %s", roots[0], remedy)
	default:
		return roots[0], nil
	}
}
