// Package reason names why a call was refused. Every status that a node
// returns carries one as the reason of a google.rpc.ErrorInfo whose domain is
// Domain, so that programs need not read the message. It promises that a name,
// once given, keeps its meaning; it decides nothing.
package reason

// Domain is the domain of every ErrorInfo that a node attaches.
const Domain = "weir.build"

// The reasons, each with the gRPC code it travels under.
const (
	NotFound        = "not_found"        // NotFound: it never was
	Expired         = "expired"          // NotFound: it was, and retention has forgotten it
	Conflict        = "conflict"         // AlreadyExists: the name or key means something else
	Fenced          = "fenced"           // Aborted: the lease is over, or another's
	Full            = "full"             // ResourceExhausted: a documented limit
	Invalid         = "invalid"          // InvalidArgument: it can never succeed as it is
	TooOld          = "too_old"          // FailedPrecondition: the request key is older than the cluster remembers; outcome unknown
	Refused         = "refused"          // FailedPrecondition: the state does not allow it (the message says which)
	Unauthenticated = "unauthenticated"  // Unauthenticated: no, unknown or revoked capability
	Denied          = "denied"           // PermissionDenied: the capability's kind may not do this
	NoLeader        = "no_leader"        // Unavailable: no leader is known to this node; nothing happened
	Empty           = "empty"            // Unavailable: the node has no data of a cluster yet; nothing happened, ask another
	Busy            = "busy"             // Unavailable: too much waits to be committed; nothing happened, repeat it a little later
	Interrupted     = "interrupted"      // Unavailable: the worker's session has ended, with the network or its silence; it may connect again at once
	UnknownOutcome  = "unknown_outcome"  // Unavailable: it may or may not have happened; repeat with the same request key
	WrongCluster    = "wrong_cluster"    // FailedPrecondition: the caller belongs to another cluster
	Upgrade         = "upgrade_required" // FailedPrecondition: the caller is older than this cluster's feature level
)

// The metadata keys that travel beside calls.
const (
	MetaAuthorization = "authorization"      // "Bearer TOKEN"
	MetaClusterID     = "weir-cluster-id"    // refused when it is another's
	MetaForwardedFor  = "weir-forwarded-for" // the caller's address; believed of nodes only
	MetaRelayedBy     = "weir-relayed-by"    // the forwarding node's name; believed of nodes only
)
