package dev

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// createPool makes the pool and writes its worker capability.
func createPool(ctx context.Context, cl *client.Client, dir string) (string, error) {
	token := capability.NewToken()
	r, err := cl.Admin().CreatePool(ctx, &pb.CreatePoolRequest{Name: poolName, WorkerTokenSha256: client.TokenHash(token)})
	if err != nil {
		return "", fmt.Errorf("create pool: %w", err)
	}
	c, err := client.Assemble(r.Worker, token)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "worker.cap")
	return file, c.Save(file)
}

func addClient(ctx context.Context, cl *client.Client) (capability.Capability, error) {
	token := capability.NewToken()
	made, err := cl.Admin().AddClient(ctx, &pb.AddClientRequest{Name: "demo", TokenSha256: client.TokenHash(token)})
	if err != nil {
		return capability.Capability{}, fmt.Errorf("add client: %w", err)
	}
	return client.Assemble(made, token)
}

// waitWorkers returns once the workers are connected.
func waitWorkers(ctx context.Context, cl *client.Client, workers []*local.Process) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		p, err := cl.Admin().GetPool(ctx, &pb.GetPoolRequest{Name: poolName})
		if err == nil && int(p.WorkersConnected) >= len(workers) {
			return nil
		}
		for _, w := range workers {
			select {
			case <-w.Done():
				said, _ := os.ReadFile(w.Log)
				return fmt.Errorf("worker %s ended at once: %s", w.Name, said)
			default:
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %d workers, have %d (their logs are in their directories): %w", len(workers), p.GetWorkersConnected(), ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
