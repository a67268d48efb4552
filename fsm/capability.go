package fsm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weirbuild/weir/proto/pb"
)

const capabilityPrefix = "cap-"

// createCapability keeps the hash of a secret, and what it allows. The same
// secret again, for the same, is a repeat.
func (s *State) createCapability(c *pb.CreateCapability) Result {
	cp, err := newCapability(c)
	if err != nil {
		return refuse(Invalid, "create capability: %v", err)
	}
	if old, ok := s.CapabilityByHash(cp.Token[:]); ok {
		if old.Revoked == 0 && old.sameAs(cp) {
			return Result{ID: old.ID, Repeat: true}
		}
		return refuse(Conflict, "this secret belongs to capability %s; make a new one", old.ID)
	}
	if c.GetFirstAdmin() && s.adminMade {
		return refuse(Refused, "the first admin capability was made before; an admin makes more with weir cap create")
	}
	if r := s.grounded(cp); r != nil {
		return Result{Refusal: r}
	}
	if r := s.makeRoom(); r != nil {
		return Result{Refusal: r}
	}
	s.lastCap++
	cp.number, cp.ID, cp.Created = s.lastCap, capabilityID(s.lastCap), s.now
	s.linkCapability(cp)
	s.emit(Event{Kind: CapabilityCreated, Capability: cp.ID, Client: cp.Client})
	return Result{ID: cp.ID}
}

func newCapability(c *pb.CreateCapability) (*Capability, error) {
	spec := c.GetCapability()
	token, err := digestOf("token digest", c.GetTokenSha256())
	if err != nil {
		return nil, err
	}
	if err := ValidateNote(spec.GetNote()); err != nil {
		return nil, err
	}
	cp := &Capability{
		Kind: spec.GetKind(), Client: spec.GetClient(), Pools: sortedUnique(spec.GetPools()),
		Note: spec.GetNote(), Token: token,
	}
	if c.GetFirstAdmin() && cp.Kind != pb.CapabilityKind_CAPABILITY_ADMIN {
		return nil, fmt.Errorf("the first capability is an admin's")
	}
	return cp, cp.validate()
}

// validate checks that a capability names what its kind is about, and no more.
func (c *Capability) validate() error {
	forClient := c.Kind == pb.CapabilityKind_CAPABILITY_SUBMIT
	switch {
	case c.Kind < pb.CapabilityKind_CAPABILITY_ADMIN || c.Kind > pb.CapabilityKind_CAPABILITY_READ:
		return fmt.Errorf("it has no known kind; admin, operator, worker, submit or read")
	case forClient && c.Client == "":
		return fmt.Errorf("a submit capability is for one client; name it")
	case !forClient && c.Client != "":
		return fmt.Errorf("only a submit capability is for a client")
	case c.Kind == pb.CapabilityKind_CAPABILITY_WORKER && len(c.Pools) != 1:
		return fmt.Errorf("a worker capability is for one pool, not %d", len(c.Pools))
	case c.Kind == pb.CapabilityKind_CAPABILITY_ADMIN && len(c.Pools) != 0:
		return fmt.Errorf("an admin capability is for every pool")
	}
	return nil
}

// grounded checks that the client and the pools of a capability exist.
func (s *State) grounded(c *Capability) *Refusal {
	if c.Client != "" {
		if _, ok := s.Client(c.Client); !ok {
			return noClient(c.Client)
		}
	}
	for _, name := range c.Pools {
		if _, ok := s.Pool(name); !ok {
			return noPool(name)
		}
	}
	return nil
}

// makeRoom drops the oldest revoked capability when there are too many.
func (s *State) makeRoom() *Refusal {
	if s.caps.len() < MaxCapability {
		return nil
	}
	oldest, ok := s.revoked.min()
	if !ok {
		return refusal(Full, "there are %d capabilities, the limit; revoke those that are not used", s.caps.len())
	}
	cp, _ := s.caps.get(oldest.number)
	s.revoked.del(oldest)
	s.capsByToken.del(string(cp.Token[:]))
	s.caps.del(cp.number)
	return nil
}

// revokeCapability ends a capability. It stays known for a while, so that its
// holder can be told. The last admin's stays: nobody could make another.
func (s *State) revokeCapability(c *pb.RevokeCapability) Result {
	cp, ok := s.Capability(c.GetId())
	switch {
	case !ok:
		return refuse(NotFound, "there is no capability %s; see them with weir cap list", quote(c.GetId()))
	case cp.Revoked != 0:
		return Result{ID: cp.ID, Repeat: true}
	case cp.adminGood() && s.admins == 1:
		return refuse(Refused, "capability %s is the last admin's; make another first (weir cap create admin), then revoke this one with it", cp.ID)
	}
	s.revoke(cp)
	return Result{ID: cp.ID}
}

func (s *State) revoke(cp *Capability) {
	if cp.adminGood() {
		s.admins--
	}
	next := *cp
	next.Revoked = max(s.now, 1)
	s.linkCapability(&next)
	s.emit(Event{Kind: CapabilityRevoked, Capability: cp.ID, Client: cp.Client})
}

func capabilityID(number uint64) string {
	return capabilityPrefix + strconv.FormatUint(number, 10)
}

// adminGood says whether the holder can make other capabilities.
func (c *Capability) adminGood() bool {
	return c.Kind == pb.CapabilityKind_CAPABILITY_ADMIN && c.Revoked == 0
}

func (s *State) linkCapability(cp *Capability) {
	s.caps.set(cp.number, cp)
	s.capsByToken.set(string(cp.Token[:]), cp.number)
	if cp.Revoked != 0 {
		s.revoked.set(revokedCapability{cp.Revoked, cp.number})
	}
	if cp.adminGood() {
		s.admins++
		s.adminMade = true
	}
}

func (c *Capability) sameAs(other *Capability) bool {
	return c.Kind == other.Kind && c.Client == other.Client && slices.Equal(c.Pools, other.Pools)
}

// CapabilityByHash finds a capability by the SHA-256 of its secret, revoked ones
// too: look at Revoked.
func (s *State) CapabilityByHash(sha256 []byte) (*Capability, bool) {
	number, ok := s.capsByToken.get(string(sha256))
	if !ok {
		return nil, false
	}
	return s.caps.get(number)
}

// Capability finds a capability by its id, revoked ones too.
func (s *State) Capability(id string) (*Capability, bool) {
	digits, ok := strings.CutPrefix(id, capabilityPrefix)
	number, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil {
		return nil, false
	}
	cp, ok := s.caps.get(number)
	return cp, ok && cp.ID == id
}
