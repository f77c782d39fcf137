package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// writeManual writes a compressed manual page for a command and each of its
// subcommands into dir.
func writeManual(root *cobra.Command, section string, o options, dir string) error {
	root.DisableAutoGenTag = true
	root.InitDefaultCompletionCmd()
	return visit(root, func(cmd *cobra.Command) error {
		var page bytes.Buffer
		header := &doc.GenManHeader{Section: section, Date: &o.date, Source: root.Name() + " " + o.version, Manual: "p2pd"}
		if err := doc.GenMan(cmd, header, &page); err != nil {
			return err
		}
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + "." + section + ".gz"
		return writeCompressed(filepath.Join(dir, name), page.Bytes())
	})
}

// visit calls f for a command and all below it that are not hidden.
func visit(cmd *cobra.Command, f func(*cobra.Command) error) error {
	for _, sub := range cmd.Commands() {
		if !sub.IsAvailableCommand() {
			continue
		}
		if err := visit(sub, f); err != nil {
			return err
		}
	}
	return f(cmd)
}

// writeCompressed writes text as gzip does with -n: without a name and a time.
func writeCompressed(file string, text []byte) error {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644) //nolint:gosec // a package's file is everybody's to read
}

// writeCompletions writes what completes a program's command line, for three
// shells, under the names that these look for.
func writeCompletions(root *cobra.Command, dir string) error {
	name := root.Name()
	for file, generate := range map[string]func(io.Writer) error{
		name:           func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"_" + name:     root.GenZshCompletion,
		name + ".fish": func(w io.Writer) error { return root.GenFishCompletion(w, true) },
	} {
		var text bytes.Buffer
		if err := generate(&text); err != nil {
			return fmt.Errorf("completion %s: %w", file, err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), text.Bytes(), 0o644); err != nil { //nolint:gosec // as above
			return err
		}
	}
	return nil
}
