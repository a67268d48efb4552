// Package peers keeps this node's gRPC connections to the other members.
//
// It promises mutual TLS on every connection, the cluster's id beside every
// call, one connection per address for as long as the address is a member's,
// and a try to reconnect at least every second. It refuses to choose among
// members or to repeat a call: the caller knows what a repeat would do.
package peers
