// Package journal remembers what happened to the blobs that were pulled lately,
// for people who ask why a pull was slow, or was refused: one story a blob, of
// entries in the order of time. It is bounded, holds values alone, and decides
// nothing. Start reading at Journal.Note.
package journal
