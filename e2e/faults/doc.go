// Package faults runs a small cluster of real processes under a schedule of
// faults, all drawn from one seed, and judges afterwards by what was recorded
// whether p2pd kept its promises: bytes (G1), never worse than the origin (G2),
// once (G3), access (G4), bounds (G5) and no single point (G7).
//
// plan.go draws the schedule, stage.go makes the faults happen, load.go pulls,
// watch.go measures, history.go records, judge.go judges. The judges see the
// history alone, so they can be tested without a cluster, and a history can be
// judged again.
package faults
