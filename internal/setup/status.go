package setup

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
)

// Status says how containerd's folders stand. It changes nothing.
func Status(_ context.Context, c Config) ([]Entry, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	certs, err := c.certs()
	if err != nil {
		return nil, err
	}
	have, err := folders(c.Files, certs)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, d := range append([]string{AllRegistries}, have...) {
		entries = append(entries, c.look(certs, d))
	}
	return entries, nil
}

func (c *Config) look(certs, folder string) Entry {
	e := Entry{Registry: registryOf(folder), File: filepath.Join(certs, folder, hostsName), State: StateOther}
	text, err := c.Files.ReadFile(e.File)
	switch {
	case errors.Is(err, fs.ErrNotExist) && folder == AllRegistries:
		e.Note = "does not exist"
		return e
	case errors.Is(err, fs.ErrNotExist):
		e.Note = "has no " + hostsName + ", and hides " + AllRegistries
		return e
	case err != nil:
		e.Note = err.Error()
		return e
	}
	h, err := readHosts(text, c.Mirror)
	e.Since = h.since
	_, _, had, broken := strip(text)
	switch {
	case err != nil:
		e.Note = err.Error()
	case broken != nil:
		e.Note = broken.Error()
	case had && h.mirror:
		e.State, e.Note = StateOurs, h.drawback(c.Mirror)
	case had:
		e.Note = "has p2pd's lines for another address than " + c.Mirror
	case h.mirror:
		e.State, e.Note = StateByHand, h.drawback(c.Mirror)
	case folder == AllRegistries:
		e.Note = "does not name " + c.Mirror
	default:
		e.Note = "hides " + AllRegistries + " from its registry"
	}
	return e
}
