package throttle

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Line is how many bytes a second the machine's network interface can carry
// each way: the one with the IPv4 default route, and what its driver says of
// its speed. Virtual interfaces often do not know.
func Line() (int64, error) { return line("/") }

// line is Line under another root folder.
func line(root string) (int64, error) {
	routes, err := os.ReadFile(filepath.Join(root, "proc/net/route")) //nolint:gosec // one name
	if err != nil {
		return 0, fmt.Errorf("find the network interface: %w", err)
	}
	iface, err := defaultInterface(routes)
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(filepath.Join(root, "sys/class/net", iface, "speed")) //nolint:gosec // the kernel names it
	if err != nil {
		return 0, fmt.Errorf("speed of network interface %s: %w", iface, err)
	}
	mbit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || mbit <= 0 {
		return 0, fmt.Errorf("network interface %s does not know its speed (%q)", iface, strings.TrimSpace(string(text)))
	}
	return mbit * 1e6 / 8, nil
}

// defaultInterface reads /proc/net/route: a line of names, then for each route
// its interface, destination, gateway, flags and more; destination 0 is the
// default. Of several the first counts, which the kernel lists by metric.
func defaultInterface(routes []byte) (string, error) {
	for row := range bytes.Lines(routes) {
		fields := strings.Fields(string(row))
		if len(fields) > 7 && fields[1] == "00000000" && fields[7] == "00000000" && filepath.IsLocal(fields[0]) {
			return fields[0], nil
		}
	}
	return "", errors.New("no network interface has the default route")
}
