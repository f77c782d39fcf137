package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sync"

	"github.com/p2pd/p2pd/pkg/piece"
)

// The journal of an ingest, in <hex>.state, says which pieces were received.
// It is a hint about where to look after a restart, never a proof: pieces are
// hashed again before they count.
//
//	offset   size  meaning
//	0        8     journalMagic
//	8        8     size of the blob in bytes, big-endian
//	16       4     size of a piece in bytes, big-endian
//	20       4     CRC-32 of bytes 0 to 19
//	24+40·k  4     record k: number of the piece, big-endian
//	28+40·k  32    its digest; zero if the piece was forgotten
//	60+40·k  4     CRC-32 of the 36 bytes before
//
// Of several records of one piece the last counts. Nothing is synced, so a
// crash may leave any tail torn or zero; the first record whose checksum is
// wrong ends the journal.
const (
	journalMagic  = "p2pding1"
	journalHeader = 24
	journalRecord = 40
	// maxJournal bounds how much of a journal is read: four records for
	// each of the most pieces there can be. Forgetting is rare.
	maxJournal = journalHeader + 4*journalRecord*piece.MaxPieces
)

// errJournal is wrapped by every error of parseJournal.
var errJournal = errors.New("malformed journal")

// encodeJournal is the form on disk of a journal that has the pieces given.
func encodeJournal(l piece.Layout, have *piece.Bitfield, claims []piece.Digest) []byte {
	p := make([]byte, 0, journalHeader+journalRecord*have.Count())
	p = append(p, journalMagic...)
	p = binary.BigEndian.AppendUint64(p, uint64(l.Size()))
	p = binary.BigEndian.AppendUint32(p, uint32(l.PieceSize()))
	p = binary.BigEndian.AppendUint32(p, crc32.ChecksumIEEE(p))
	for i := range have.All() {
		p = appendRecord(p, i, claims[i])
	}
	return p
}

func appendRecord(p []byte, i int, claim piece.Digest) []byte {
	start := len(p)
	p = binary.BigEndian.AppendUint32(p, uint32(i))
	p = append(p, claim[:]...)
	return binary.BigEndian.AppendUint32(p, crc32.ChecksumIEEE(p[start:]))
}

// parseJournal reads the form on disk: the layout and, for each piece, what
// digest it is said to have, zero for none.
func parseJournal(p []byte) (piece.Layout, []piece.Digest, error) {
	layout, err := parseJournalHeader(p)
	if err != nil {
		return piece.Layout{}, nil, err
	}
	claims := make([]piece.Digest, layout.Count())
	for p = p[journalHeader:]; len(p) >= journalRecord; p = p[journalRecord:] {
		sum := binary.BigEndian.Uint32(p[journalRecord-4:])
		i := binary.BigEndian.Uint32(p)
		if crc32.ChecksumIEEE(p[:journalRecord-4]) != sum || int64(i) >= int64(len(claims)) {
			break
		}
		claims[i] = piece.Digest(p[4:])
	}
	return layout, claims, nil
}

// parseJournalHeader reads the layout alone; p may hold more.
func parseJournalHeader(p []byte) (piece.Layout, error) {
	if len(p) < journalHeader || string(p[:8]) != journalMagic {
		return piece.Layout{}, fmt.Errorf("%w: no header in %d bytes", errJournal, len(p))
	}
	if crc32.ChecksumIEEE(p[:20]) != binary.BigEndian.Uint32(p[20:]) {
		return piece.Layout{}, fmt.Errorf("%w: checksum is wrong", errJournal)
	}
	layout, err := parseLayout(p[8:20])
	if err != nil {
		return piece.Layout{}, fmt.Errorf("%w: %w", errJournal, err)
	}
	return layout, nil
}

// journal is the open journal of an ingest.
type journal struct {
	// mu keeps the order of records that of what they tell. It is taken
	// before ingest.mu.
	mu  sync.Mutex
	f   *os.File // nil once closed
	end int64    // where the next record goes
}

// append writes a record; mu is held. The record goes to a fixed place, so
// that one cut short by a full disk is overwritten by the next and does not
// hide what follows.
func (j *journal) append(i int, claim piece.Digest) error {
	if j.f == nil {
		return nil
	}
	if _, err := j.f.WriteAt(appendRecord(nil, i, claim), j.end); err != nil {
		return err
	}
	j.end += journalRecord
	return nil
}

func (j *journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.f != nil {
		_ = j.f.Close() // nothing is synced, so nothing is lost that counts
		j.f = nil
	}
}
