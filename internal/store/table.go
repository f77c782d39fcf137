package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/p2pd/p2pd/pkg/piece"
)

// The table of a whole blob, in <hex>.pieces, is the digests of its pieces.
// It is complete on the disk before the blob gets its name.
//
//	offset  size  meaning
//	0       8     tableMagic
//	8       8     size of the blob in bytes, big-endian
//	16      4     size of a piece in bytes, big-endian
//	20      32    digest of the blob
//	52      32·n  digests of the pieces, in order
//	52+32·n 32    SHA-256 of all that is before
//
// The size of a piece follows from the size of the blob. It is written down
// so that a program that cuts otherwise does not misread the table.
const (
	tableMagic  = "p2pdpcs1"
	tableHeader = 20 + piece.DigestSize
)

// errTable is wrapped by every error of parseTable.
var errTable = errors.New("malformed piece table")

// table is what is known of a whole blob beside its bytes.
type table struct {
	digest piece.Digest
	layout piece.Layout
	claims []piece.Digest // one a piece
}

// encode is the form on disk.
func (t *table) encode() []byte {
	p := make([]byte, 0, tableHeader+piece.DigestSize*(len(t.claims)+1))
	p = append(p, tableMagic...)
	p = binary.BigEndian.AppendUint64(p, uint64(t.layout.Size()))
	p = binary.BigEndian.AppendUint32(p, uint32(t.layout.PieceSize()))
	p = append(p, t.digest[:]...)
	for _, c := range t.claims {
		p = append(p, c[:]...)
	}
	sum := sha256.Sum256(p)
	return append(p, sum[:]...)
}

// parseTable reads the form on disk. All of p must be used up.
func parseTable(p []byte) (table, error) {
	if len(p) < tableHeader+sha256.Size || string(p[:8]) != tableMagic {
		return table{}, fmt.Errorf("%w: no header in %d bytes", errTable, len(p))
	}
	body, sum := p[:len(p)-sha256.Size], p[len(p)-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return table{}, fmt.Errorf("%w: checksum is wrong", errTable)
	}
	layout, err := parseLayout(body[8:20])
	if err != nil {
		return table{}, fmt.Errorf("%w: %w", errTable, err)
	}
	t := table{digest: piece.Digest(body[20:tableHeader]), layout: layout}
	body = body[tableHeader:]
	if len(body) != layout.Count()*piece.DigestSize {
		return table{}, fmt.Errorf("%w: %d bytes of digests for %d pieces", errTable, len(body), layout.Count())
	}
	t.claims = make([]piece.Digest, layout.Count())
	for i := range t.claims {
		t.claims[i] = piece.Digest(body[i*piece.DigestSize:])
	}
	return t, nil
}

// parseLayout reads the size of a blob (8 bytes) and of its pieces (4 bytes).
func parseLayout(p []byte) (piece.Layout, error) {
	layout, err := piece.NewLayout(int64(binary.BigEndian.Uint64(p)))
	if err != nil {
		return piece.Layout{}, err
	}
	if got := binary.BigEndian.Uint32(p[8:]); int64(got) != layout.PieceSize() {
		return piece.Layout{}, fmt.Errorf("pieces of %d bytes, not %d", got, layout.PieceSize())
	}
	return layout, nil
}
