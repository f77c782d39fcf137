package setup

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A block is what this package adds to a file:
//
//	# >>> p2pd: `p2pd setup` wrote these lines, `p2pd restore` removes them [ATTRIBUTES]
//	...
//	# <<< p2pd
//
// The attributes say what else to undo.
const (
	beginMark = "# >>> p2pd: `p2pd setup` wrote these lines, `p2pd restore` removes them"
	beginWith = "# >>> p2pd:"
	endMark   = "# <<< p2pd"
)

// attributes of a block.
type attributes struct {
	broke bool   // a line break was added before the block
	file  bool   // the file did not exist
	dirs  int    // so many folders above it did not exist either
	was   []byte // what stood in the block's place
}

func (a attributes) String() string {
	var words []string
	if a.broke {
		words = append(words, "break")
	}
	if a.file {
		words = append(words, "file")
	}
	if a.dirs > 0 {
		words = append(words, "dirs="+strconv.Itoa(a.dirs))
	}
	if len(a.was) > 0 {
		words = append(words, "was="+base64.StdEncoding.EncodeToString(a.was))
	}
	return "[" + strings.Join(words, " ") + "]"
}

func parseAttributes(s string) (a attributes, err error) {
	for _, w := range strings.Fields(s) {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "break":
			a.broke = true
		case "file":
			a.file = true
		case "dirs":
			a.dirs, err = strconv.Atoi(value)
			if err == nil && (a.dirs < 0 || a.dirs > maxDirs) {
				err = fmt.Errorf("%d folders", a.dirs)
			}
		case "was":
			a.was, err = base64.StdEncoding.DecodeString(value)
		default:
			err = fmt.Errorf("unknown word %q", name)
		}
		if err != nil {
			return a, err
		}
	}
	return a, nil
}

// maxDirs is more folders than any of our paths has.
const maxDirs = 32

// replace puts a block with body in the place of text[from:to], which begins
// at the start of a line, or at the end of the text.
func replace(text []byte, from, to int, body string, a attributes) []byte {
	a.was = text[from:to]
	a.broke = from > 0 && text[from-1] != '\n'
	var b bytes.Buffer
	b.Write(text[:from])
	if a.broke {
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%s %s\n%s%s\n", beginMark, a, body, endMark)
	b.Write(text[to:])
	return b.Bytes()
}

// block is where one stands in a text.
type block struct {
	from, to int // with both markers, and with the break before it if it is ours
	attributes
}

// blocks finds them all. It fails where a marker has lost its other half: then
// there is no telling what is ours.
func blocks(text []byte) ([]block, error) {
	var found []block
	open := -1
	var a attributes
	off, number := 0, 0
	for line := range bytes.Lines(text) {
		number++
		start := off
		off += len(line)
		trimmed := strings.TrimRight(string(line), "\r\n")
		switch {
		case strings.HasPrefix(trimmed, beginWith):
			if open >= 0 {
				return nil, fmt.Errorf("line %d: a block of p2pd begins inside another: remove the lines that are p2pd's by hand", number)
			}
			words, ok := strings.CutSuffix(trimmed[strings.LastIndexByte(trimmed, '[')+1:], "]")
			var err error
			if a, err = parseAttributes(words); err == nil && !ok {
				err = errors.New("its ] is missing")
			}
			if err != nil {
				return nil, fmt.Errorf("line %d: p2pd's marker was edited (%w): remove the lines that are p2pd's by hand", number, err)
			}
			open = start
			if a.broke && open > 0 {
				open--
			}
		case trimmed == endMark:
			if open < 0 {
				return nil, fmt.Errorf("line %d: the end of a block of p2pd without its beginning: remove the lines that are p2pd's by hand", number)
			}
			found = append(found, block{open, off, a})
			open = -1
		}
	}
	if open >= 0 {
		return nil, fmt.Errorf("a block of p2pd has no end (%q): remove the lines that are p2pd's by hand", endMark)
	}
	return found, nil
}

// strip undoes all edits. undone says what else is to be undone; it is that of
// the block which knows most.
func strip(text []byte) (rest []byte, undone attributes, had bool, err error) {
	found, err := blocks(text)
	if err != nil {
		return nil, undone, false, err
	}
	last := 0
	for _, b := range found {
		rest = append(rest, text[last:b.from]...)
		rest = append(rest, b.was...)
		last = b.to
		undone.file = undone.file || b.file
		undone.dirs = max(undone.dirs, b.dirs)
	}
	return append(rest, text[last:]...), undone, len(found) > 0, nil
}
