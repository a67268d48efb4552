// Package auth decides who a caller is and what it may do.
//
// It promises that every call on every service passes one table (see [Allowed])
// before any handler sees it, that a method missing from the table is refused,
// that a capability's open streams end within a second of its revocation on the
// node that serves them, and that each refusal and each administrative change
// leaves an audit line without any secret in it. Of many refusals that are alike
// only the first few have lines of their own; the others are counted in one.
//
// It refuses to keep secrets (it hashes a token and looks the hash up in this
// node's replicated state), to trust a caller's word on where it comes from
// unless the caller is a node, and to know what a job is beyond its client and
// its pool.
package auth
