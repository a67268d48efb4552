// Package mtls makes and checks the certificates of a cluster: its certificate
// authority, the certificates of its nodes, and TLS 1.3 configurations for both
// ends of every connection.
//
// It promises that a peer is only accepted when its certificate is valid now,
// is signed by the cluster's authority (nodes hold the authority's certificate,
// clients know only its [Pin]), names the host that was dialled, and, for
// servers, carries the node role. Files are read again when they change, so a
// certificate or an authority is replaced without a restart. Every refusal can
// be turned into a sentence that names the remedy with [Explain].
//
// It refuses TLS below 1.3, offers no plaintext and no way to skip a check, and
// knows nothing of tokens: who may do what is decided above it.
package mtls
