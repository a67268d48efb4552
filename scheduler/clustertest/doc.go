// Package clustertest runs whole clusters in one process for tests: real nodes
// with real disks and TLS, over a network that a test can cut, and a verifier
// that says at the end whether a promise was broken.
//
// It promises that nothing outlives the test that started it. It mocks nothing:
// clients and workers are the product's own, and reach the nodes through
// proxies that can stall or refuse, as a firewall would.
package clustertest
