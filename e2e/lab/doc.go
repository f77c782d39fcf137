// Package lab builds small clusters out of real parts on one machine: network
// namespaces with shaped links (or loopback addresses without root), a real
// registry as the origin, real containerds, and the p2pd and scheduler
// programs. The end-to-end tests, the demo and the swarm benchmark are written
// on it.
//
// It knows p2pd from outside only: its command line, its configuration file
// and its metrics. It decides nothing about what is right; tests do.
//
// Start reading at Open.
package lab
