package discovery

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/google/renameio/v2"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// maxKnown bounds the peers that are remembered over a restart. One that
	// lives is enough.
	maxKnown = 128
	// maxKnownFile bounds what is read of the file: maxKnown peers with
	// maxAddrs addresses of 300 bytes.
	maxKnownFile = 512 << 10
)

// The file of known peers is text: a peer's address a line, as a multiaddr that
// ends in its identity. A peer with several has several lines. Lines that make
// no sense are passed over, as all of it is only hints.
//
//	/ip4/10.0.0.7/tcp/7301/p2p/12D3KooW…

// parseKnown reads peers out of the file's content.
func parseKnown(b []byte) []libpeer.AddrInfo {
	var infos []libpeer.AddrInfo
	at := make(map[libpeer.ID]int)
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		info, err := parseAddr(lines.Text())
		if err != nil {
			continue
		}
		i, known := at[info.ID]
		switch {
		case known && len(infos[i].Addrs) < maxAddrs:
			infos[i].Addrs = append(infos[i].Addrs, info.Addrs...)
		case !known && len(infos) < maxKnown:
			at[info.ID] = len(infos)
			infos = append(infos, info)
		}
	}
	return infos
}

// parseAddr reads a multiaddr of a peer: an IP address or a name, TCP, and the
// identity.
func parseAddr(s string) (libpeer.AddrInfo, error) {
	a, err := ma.NewMultiaddr(s)
	if err != nil {
		return libpeer.AddrInfo{}, fmt.Errorf("%.80q: %w", s, err)
	}
	info, err := libpeer.AddrInfoFromP2pAddr(a)
	if err != nil {
		return libpeer.AddrInfo{}, fmt.Errorf("%.80q names no peer: %w", s, err)
	}
	if len(info.Addrs) != 1 || !plainTCP(info.Addrs[0]) {
		return libpeer.AddrInfo{}, fmt.Errorf("%.80q is not an address by TCP", s)
	}
	return *info, nil
}

// formatKnown is what parseKnown reads.
func formatKnown(infos []libpeer.AddrInfo) []byte {
	var b bytes.Buffer
	for _, info := range infos[:min(len(infos), maxKnown)] {
		for _, a := range tcpOnly(info.Addrs) {
			fmt.Fprintf(&b, "%s/p2p/%s\n", a, info.ID)
		}
	}
	return b.Bytes()
}

// loadKnown reads the file. None is no failure.
func loadKnown(path string) ([]libpeer.AddrInfo, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || path == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read known peers: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(f, maxKnownFile))
	if err != nil {
		return nil, fmt.Errorf("read known peers: %w", err)
	}
	return parseKnown(b), nil
}

// saveKnown replaces the file as a whole: a crash leaves the old one or the new.
func saveKnown(path string, infos []libpeer.AddrInfo) error {
	if err := renameio.WriteFile(path, formatKnown(infos), 0o644); err != nil {
		return fmt.Errorf("save known peers: %w", err)
	}
	return nil
}
