// Package setup tells a node's container runtimes to pull through p2pd, and
// takes that back. It edits files that belong to others: it adds lines between
// two markers, writes files whole or not at all, and its restore leaves every
// byte as it was, also where somebody edited the rest meanwhile. There is no
// state beside the files: what is needed to undo an edit stands in its marker,
// so a lost or a copied disk can be restored too. It restarts nothing; what it
// writes holds for the next pull.
//
// Start reading at Setup in setup.go. edit.go is the editing, containerd.go
// what is read of containerd's own configuration.
package setup
