package access

import "fmt"

// Mode is how a registry's clients prove their rights.
type Mode uint8

// The modes.
const (
	// Relay passes the origin's Bearer challenge on to the client. It is
	// the default: p2pd sees nothing but a short-lived token for one
	// repository.
	Relay Mode = iota
	// Basic passes on a Basic challenge too: then p2pd sees the client's
	// password.
	Basic
	// ByNode asks with the node's own credentials: they speak for all who
	// reach the mirror.
	ByNode
	// Open asks for no proof: all that this registry has is for all who
	// reach the mirror, even while the registry cannot be reached.
	Open
)

var modeNames = [...]string{"relay", "basic", "node", "open"}

// String is the mode as configurations name it.
func (m Mode) String() string { return modeNames[m] }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Mode) UnmarshalText(p []byte) error {
	for i, name := range modeNames {
		if string(p) == name {
			*m = Mode(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not a way to prove access; use relay, basic, node or open", p)
}

// MarshalText implements encoding.TextMarshaler.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }
