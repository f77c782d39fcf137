// Package piece holds the values that every other package speaks in: the
// digest that names a blob, the layout that cuts it into pieces, the bitfield
// that says which pieces somebody has, and the readers that refuse to finish
// with the wrong bytes.
//
// It does no I/O of its own and knows nothing of peers, registries or disks.
// Start reading at Layout.
package piece
