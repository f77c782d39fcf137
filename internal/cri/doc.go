// Package cri speaks with a node's container runtime as a kubelet does, over CRI:
// it has images pulled, and containers of them started. It does not know why
// anybody wants that. Client is where to start reading.
package cri
