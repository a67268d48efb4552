package raftnode

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// What can become of a proposal. All but ErrUnknownOutcome mean that nothing
// happened and nothing will.
var (
	// ErrNotLeader: this node does not lead, or is handing its office over. Ask
	// the leader (Node.Leader) or try again.
	ErrNotLeader = errors.New("this node does not lead")
	// ErrUnknownOutcome: the command may or may not be applied, now or later.
	ErrUnknownOutcome = errors.New("outcome unknown: the command may or may not be applied")
	// ErrBusy: too many commands are waiting.
	ErrBusy = errors.New("too many commands are waiting to be committed")
	// ErrTooLarge: the command is larger than MaxCommand.
	ErrTooLarge = fmt.Errorf("the command is larger than %d bytes", MaxCommand)
	// ErrClosed: the node has been stopped.
	ErrClosed = errors.New("the node has been stopped")
)

// ErrRefused is a membership change that would harm the cluster, or is not
// possible in its state; the text says why.
var ErrRefused = errors.New("refused")

// ErrNoMember is a name or id that no member has.
var ErrNoMember = errors.New("no such member")

// ErrWrongCluster is a node that belongs to another cluster.
var ErrWrongCluster = errors.New("wrong cluster")

// outcome translates what Raft says of a proposal.
func outcome(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader):
		return ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: it is handing its office over", ErrNotLeader)
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("%w: the log has taken none for too long", ErrBusy)
	default:
		return fmt.Errorf("%w: %v", ErrUnknownOutcome, err) // its cause may be one that by itself means that nothing happened
	}
}
