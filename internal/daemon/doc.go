// Package daemon puts the parts together: p2pd is a Node, the scheduler a
// Hub. It holds no logic of its own beyond configuration, the order in which
// parts start and end, and the health endpoints.
//
// Start reading at Node.Run, then load.go for where settings come from.
package daemon
