package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
)

// mint makes a capability. With a file, its secret is on this disk before the
// cluster hears of it, in FILE.pending, and stays there unless the cluster
// refused it: whatever happens in between, the same command makes the same
// capability again. finish adds to it what the cluster must not, or need not, know.
func (e *env) mint(file string, ask func(hash []byte) (*pb.NewCapability, error), finish ...finisher) error {
	if file == "" {
		t := capability.NewToken()
		made, err := ask(client.TokenHash(t))
		if err != nil {
			return err
		}
		return e.print(made, t, finish)
	}
	pending := file + ".pending"
	t, err := pendingToken(file, pending)
	if err != nil {
		return err
	}
	made, err := ask(client.TokenHash(t))
	switch {
	case err != nil && client.Refused(err):
		return errors.Join(err, os.Remove(pending))
	case err != nil:
		return fmt.Errorf("%w\nThe same command goes on where this one stopped, with the secret in %s", err, pending)
	}
	if err := e.keep(made, t, file, finish); err != nil {
		return fmt.Errorf("capability %s is made, but %w; when that is mended the same command writes it, with the secret in %s", made.Capability.Id, err, pending)
	}
	return os.Remove(pending)
}

// pendingToken returns the secret of an earlier try, or a new one that is kept.
func pendingToken(file, pending string) (capability.Token, error) {
	if _, err := os.Lstat(file); err == nil {
		return capability.Token{}, usageError("%s is there already: name a new file, or move that one away", file)
	}
	text, err := mtls.ReadSecret(pending)
	if errors.Is(err, fs.ErrNotExist) {
		t := capability.NewToken()
		if err := mtls.CreateSecret(pending, []byte(t.Reveal()+"\n")); err != nil {
			return capability.Token{}, usageError("keep the capability's secret: %w", err)
		}
		return t, nil
	}
	if err != nil {
		return capability.Token{}, usageError("read the secret of an earlier try: %w", err)
	}
	t, err := capability.ParseToken(strings.TrimSpace(string(text)))
	if err != nil {
		return capability.Token{}, usageError("%s is no secret of an earlier try: move it away", pending)
	}
	return t, nil
}

// finisher adds to a capability.
type finisher func(capability.Capability) (capability.Capability, error)

func assemble(made *pb.NewCapability, t capability.Token, finish []finisher) (capability.Capability, error) {
	c, err := client.Assemble(made, t)
	for _, f := range finish {
		if err == nil {
			c, err = f(c)
		}
	}
	return c, err
}

func (e *env) print(made *pb.NewCapability, t capability.Token, finish []finisher) error {
	c, err := assemble(made, t, finish)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, c.Reveal())
	return err
}

func (e *env) keep(made *pb.NewCapability, t capability.Token, file string, finish []finisher) error {
	c, err := assemble(made, t, finish)
	if err != nil {
		return err
	}
	if err := c.Save(file); err != nil {
		return err
	}
	e.say("wrote %s (capability %s, mode 0600)", file, made.Capability.Id)
	return nil
}
