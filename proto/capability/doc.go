// Package capability reads and writes capabilities: one line of text that lets
// its holder reach a cluster and act in it.
//
//	weir://TOKEN@host1:7000,host2:7000/?ca=sha256:...&pool=linux
//
// It carries a secret token, the addresses to try, the pins of the cluster's
// certificate authorities (several while one replaces another), and hints.
//
// It promises that a capability or a token that is printed, logged or formatted,
// alone or inside another value, shows no secret: only Reveal does. Errors quote
// no input. It does not decide what a token may do, and does not connect.
package capability
