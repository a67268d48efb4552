package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

const poolName = "bench"

// rig is a cluster with a pool, a worker capability and a client.
type rig struct {
	*local.Cluster
	admin     *client.Client
	submit    capability.Capability
	workerCap string // files
	submitCap string
}

// newRig starts a cluster for one section.
func (b *bench) newRig(ctx context.Context, name string, c local.Config, pool *pb.PoolConfig) (*rig, error) {
	dir, err := b.dir(name)
	if err != nil {
		return nil, err
	}
	c.Dir, c.Binary = dir, b.Binary
	c.Flags = append(c.Flags, "--log-level", "warn")
	cluster, err := local.Start(ctx, c)
	if err != nil {
		return nil, err
	}
	r := &rig{Cluster: cluster, workerCap: filepath.Join(dir, "worker.cap"), submitCap: filepath.Join(dir, "submit.cap")}
	if err := r.setUp(ctx, pool); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *rig) close() error {
	if r.admin != nil {
		r.admin.Close()
	}
	return r.Cluster.Close()
}

func (r *rig) setUp(ctx context.Context, pool *pb.PoolConfig) (err error) {
	if r.admin, err = r.Client(r.Admin, client.Options{Patience: 30 * time.Second}); err != nil {
		return err
	}
	workerToken := capability.NewToken()
	made, err := r.admin.Admin().CreatePool(ctx, &pb.CreatePoolRequest{Name: poolName, Config: pool, WorkerTokenSha256: client.TokenHash(workerToken)})
	if err != nil {
		return err
	}
	submitToken := capability.NewToken()
	added, err := r.admin.Admin().AddClient(ctx, &pb.AddClientRequest{Name: "load", Rate: proto.Float64(100), TokenSha256: client.TokenHash(submitToken)})
	if err != nil {
		return err
	}
	if r.submit, err = client.Assemble(added, submitToken); err != nil {
		return err
	}
	worker, err := client.Assemble(made.Worker, workerToken)
	if err != nil {
		return err
	}
	return errors.Join(worker.Save(r.workerCap), r.submit.Save(r.submitCap))
}

// waitWorkers returns once n workers are connected.
func (r *rig) waitWorkers(ctx context.Context, n int32) error {
	return poll(ctx, fmt.Sprintf("%d workers to connect", n), func() (bool, error) {
		p, err := r.admin.Admin().GetPool(ctx, &pb.GetPoolRequest{Name: poolName})
		return p.GetWorkersConnected() >= n, err
	})
}

// waitReady returns once every node follows and has caught up.
func (r *rig) waitReady(ctx context.Context) error {
	return poll(ctx, "all nodes to be ready", func() (bool, error) {
		for _, n := range r.admin.Survey(ctx) {
			if !n.Status.GetReady() {
				return false, n.Err
			}
		}
		return true, nil
	})
}

// poll waits up to a minute for a condition; passing errors are only told at the end.
func poll(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		ok, err := done()
		if ok && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait for %s: %w", what, ctx.Err()), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
