package setup

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
)

// folders are the registries' folders in certs, but for AllRegistries.
func folders(f Files, certs string) ([]string, error) {
	names, err := f.List(certs)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, n := range names {
		if n == AllRegistries || strings.HasPrefix(n, ".") {
			continue
		}
		if _, err := f.List(filepath.Join(certs, n)); err == nil {
			found = append(found, n)
		}
	}
	return found, nil
}

// folderFor is the folder that containerd looks into for a registry, by its
// order: HOST_PORT_ where there is one, else HOST:PORT.
func folderFor(f Files, certs, registry string) string {
	host, port, err := net.SplitHostPort(registry)
	if err != nil {
		return registry
	}
	flat := host + "_" + port + "_"
	if _, err := f.Resolve(filepath.Join(certs, flat)); err == nil {
		return flat
	}
	return registry
}

// registryOf undoes folderFor.
func registryOf(folder string) string {
	inner, ok := strings.CutSuffix(folder, "_")
	if i := strings.LastIndexByte(inner, '_'); ok && i > 0 {
		return inner[:i] + ":" + inner[i+1:]
	}
	return folder
}

// lock keeps other runs out of certs, or of the folder that it will be made in.
func lock(f Files, certs string) (unlock func(), err error) {
	at, _, err := missingAbove(f, certs)
	if err != nil {
		return nil, err
	}
	return f.Lock(at)
}

// seize locks the folder and removes what runs that died left there.
func seize(f Files, certs string) (unlock func(), err error) {
	unlock, err = lock(f, certs)
	if err != nil {
		return nil, err
	}
	if err := sweepAll(f, certs); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// sweepAll removes what runs that died left, wherever they may have.
func sweepAll(f Files, certs string) error {
	top, missing, err := missingAbove(f, certs)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return sweep(f, top)
	}
	have, err := folders(f, certs)
	if err != nil {
		return err
	}
	errs := []error{sweep(f, filepath.Dir(certs)), sweep(f, certs)}
	for _, d := range append(have, AllRegistries) {
		errs = append(errs, sweep(f, filepath.Join(certs, d)))
	}
	return errors.Join(errs...)
}

// takeAway removes a file, with as many of the folders above it as came with it
// and hold nothing else. They get a temporary name first: what dies in between
// is swept away by the next run.
func takeAway(f Files, name string, dirs int) error {
	top := name
	for range dirs {
		names, err := f.List(filepath.Dir(top))
		if err != nil {
			return err
		}
		if len(names) != 1 {
			break
		}
		top = filepath.Dir(top)
	}
	tmp := filepath.Join(filepath.Dir(top), temporary+filepath.Base(top))
	if err := f.Rename(top, tmp); err != nil {
		return err
	}
	if err := discard(f, tmp); err != nil {
		return err
	}
	return f.Sync(filepath.Dir(top))
}
