// Package ctl is the program p2pctl: what an operator types, and how the answers
// of the scheduler and of p2pd look. It knows their admin interface as
// internal/api has it and nothing of how they work.
//
// What was asked for goes to standard output, everything else to standard error.
//
// Start reading at Main, then client.go for how it asks and print.go for how it
// answers.
package ctl
