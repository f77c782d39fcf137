package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
)

// Restore takes p2pd's lines out of all files of the folder, and files and
// folders away that were made for them. What others wrote meanwhile stays.
func Restore(ctx context.Context, c Config) ([]Entry, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	certs, err := c.certs()
	if err != nil {
		return nil, err
	}
	if _, err := c.Files.Resolve(certs); errors.Is(err, fs.ErrNotExist) {
		return nil, sweepAll(c.Files, certs)
	}
	unlock, err := seize(c.Files, certs)
	if err != nil {
		return nil, err
	}
	defer unlock()
	have, err := c.ours(certs)
	if err != nil {
		return nil, err
	}
	var done []Entry
	for _, o := range have {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		e := Entry{Registry: registryOf(filepath.Base(filepath.Dir(o.file))), File: o.file, State: StateOther, Note: "restored"}
		if o.undone.file && len(bytes.TrimSpace(o.rest)) == 0 {
			e.Note = "removed"
			err = takeAway(c.Files, o.file, o.undone.dirs)
		} else {
			err = put(c.Files, o.file, o.rest, true)
		}
		if err != nil {
			return done, fmt.Errorf("%s: %w", o.file, err)
		}
		done = append(done, e)
	}
	return done, nil
}

// edited is a file with lines of ours.
type edited struct {
	file   string
	rest   []byte // without them
	undone attributes
}

// ours finds the files that have lines of ours. The one that came with the
// most folders is the last, for the others stand in them.
func (c *Config) ours(certs string) ([]edited, error) {
	have, err := folders(c.Files, certs)
	if err != nil {
		return nil, err
	}
	var found []edited
	for _, d := range append(have, AllRegistries) {
		name := filepath.Join(certs, d, hostsName)
		text, err := c.Files.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		rest, undone, had, err := strip(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if had {
			found = append(found, edited{name, rest, undone})
		}
	}
	slices.SortStableFunc(found, func(a, b edited) int { return a.undone.dirs - b.undone.dirs })
	return found, nil
}
