// Package proto holds the contract between everything that makes up weir: the
// messages and services of weir/v1 (generated into pb), the Go client, the
// capability line and the TLS rules. It promises that what one release wrote
// another can read, and refuses to hold any rule of the business: those live
// in fsm and scheduler.
package proto
