// Package sim runs the scheduler on virtual time: the real replicated state and
// the real planner, tied together as the leader ties them, with workers and
// builds that exist only as events on an agenda.
//
// It promises the same decisions for the same input, in virtual time order. It
// refuses to decide anything itself, and knows no wall clock, goroutine, file or
// socket. What it leaves out: consensus, log bytes, and the time that commits,
// elections and reconnects take.
package sim
