package auth

import (
	"strings"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/reason"
)

// These methods say what a capability may do within a method that its kind may
// call. Their errors are refusals for the caller.

// SeesJob reports whether the job of a client in a pool may be shown.
func (id Identity) SeesJob(client, pool string) bool {
	if id.Kind == Submit {
		return client == id.Client && id.InPool(pool)
	}
	return id.Kind&(readers|Node) != 0 && id.InPool(pool)
}

// MaySee refuses a job of another client, or in another pool.
func (id Identity) MaySee(job *fsm.Job) error {
	if id.SeesJob(job.Client, job.Pool) {
		return nil
	}
	if job.Client != id.Client && id.Kind == Submit {
		return refuse(reason.Denied, "job %v is of another client than %s: use a capability of its client, or a read-only one", job.ID, id.Client)
	}
	return refuse(reason.Denied, "job %v is in pool %s, the capability is for %s: ask for one that includes it: weir cap create", job.ID, job.Pool, strings.Join(id.Pools, ", "))
}

// SeesChange reports whether the audit's entries on a pool, or without one on the
// whole cluster, may be shown.
func (id Identity) SeesChange(pool string) bool {
	return pool == "" && len(id.Pools) == 0 || pool != "" && id.InPool(pool)
}

// MayUsePool refuses a pool that the capability is not for.
func (id Identity) MayUsePool(pool string) error {
	if id.InPool(pool) {
		return nil
	}
	return refuse(reason.Denied, "the capability is for pool %s, not for %s: ask for one that includes it: weir cap create", strings.Join(id.Pools, ", "), pool)
}

// MayRunCluster refuses a capability that is for some pools only what concerns
// all of them: members and clients.
func (id Identity) MayRunCluster() error {
	if len(id.Pools) == 0 {
		return nil
	}
	return refuse(reason.Denied, "this concerns the whole cluster, and the capability is for pool %s only: ask for one without a pool: weir cap create", strings.Join(id.Pools, ", "))
}

// SubmitsFor returns the client that a submit is counted for: the capability's
// own, or for admin and operator the one that the request names.
func (id Identity) SubmitsFor(asked string) (string, error) {
	switch {
	case id.Kind == Submit && (asked == "" || asked == id.Client):
		return id.Client, nil
	case id.Kind == Submit:
		return "", refuse(reason.Denied, "the capability submits for client %s, not for %s", id.Client, clean(asked))
	case asked == "":
		return "", refuse(reason.Invalid, "%s capability belongs to no client: name one with --client", id.Kind)
	default:
		return asked, nil
	}
}

// MayMakeCapabilities refuses everyone but an admin: for requests that make a
// capability on the side.
func (id Identity) MayMakeCapabilities() error {
	if id.Kind == Admin {
		return nil
	}
	return refuse(reason.Denied, "only an admin capability may make capabilities: leave it out, or use the admin's")
}
