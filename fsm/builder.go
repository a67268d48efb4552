package fsm

import (
	"fmt"
)

// builder makes a state from its primary records, given in the order of the
// snapshot's sections and of the keys within each. It checks every record, alone
// and against those before it, and derives all indexes and counts. Restore feeds
// it from a snapshot, Check from a state.
type builder struct {
	s *State
}

// pool takes over p, and zeroes its counts.
func (b *builder) pool(p *Pool) error {
	if err := ValidateName("pool", p.Name); err != nil {
		return err
	}
	if _, last, ok := b.s.pools.m.Max(); ok && last.Name >= p.Name {
		return misplaced("pool " + p.Name)
	}
	if err := ValidatePoolConfig(p.Config); err != nil {
		return fmt.Errorf("pool %s: %w", p.Name, err)
	}
	p.Queued, p.Backoff, p.Running, p.Settled, p.Workers, p.Hints, p.Costs = 0, 0, 0, 0, 0, 0, 0
	b.s.pools.load(p.Name, p)
	if err := p.Pause.validate("pool " + p.Name); err != nil {
		return err
	}
	return validTimes("pool "+p.Name, p.Created)
}

func (b *builder) client(c *Client) error {
	if err := ValidateName("client", c.Name); err != nil {
		return err
	}
	if _, last, ok := b.s.clients.m.Max(); ok && last.Name >= c.Name {
		return misplaced("client " + c.Name)
	}
	if err := ValidateRate(c.Rate); err != nil {
		return fmt.Errorf("client %s: %w", c.Name, err)
	}
	b.s.clients.load(c.Name, c)
	if c.MaxRunning < 0 || c.MaxRunning > MaxQueued {
		return fmt.Errorf("client %s: a limit of %d running jobs", c.Name, c.MaxRunning)
	}
	return validTimes("client "+c.Name, c.Created)
}

// share takes over h, and zeroes its counts.
func (b *builder) share(h *Share) error {
	what := fmt.Sprintf("share of client %s in pool %s", h.Client, h.Pool)
	p, ok := b.s.Pool(h.Pool)
	if !ok {
		return fmt.Errorf("%s: no such pool", what)
	}
	if err := ValidateName("client", h.Client); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if last, ok := b.s.shares.t.Max(); ok && !shareLess(last, h) {
		return misplaced(what)
	}
	if h.Urgents < 0 {
		return fmt.Errorf("%s: %d urgent jobs", what, h.Urgents)
	}
	if err := h.Hour.validate(what); err != nil {
		return err
	}
	if err := validTimes(what, h.UrgentSince); err != nil {
		return err
	}
	h.Pool, h.Waiting, h.Running = p.Name, 0, 0
	if c, ok := b.s.Client(h.Client); ok {
		h.Client = c.Name
	}
	b.s.shares.load(h)
	return validTimes(what, h.Next)
}

func (b *builder) capability(c *Capability) error {
	what := "capability " + c.ID
	if c.number == 0 || c.number > b.s.lastCap {
		return fmt.Errorf("%s: the newest is %d", what, b.s.lastCap)
	}
	if _, last, ok := b.s.caps.m.Max(); ok && last.number >= c.number {
		return misplaced(what)
	}
	if err := c.validate(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if other, ok := b.s.CapabilityByHash(c.Token[:]); ok {
		return fmt.Errorf("%s has the secret of %s", what, other.ID)
	}
	if c.Revoked == 0 {
		if _, ok := b.s.Client(c.Client); c.Client != "" && !ok {
			return fmt.Errorf("%s: there is no client %s", what, quote(c.Client))
		}
		if !b.s.adminMade && c.adminGood() {
			return fmt.Errorf("%s is an admin's, and none was made", what)
		}
	}
	b.s.linkCapability(c)
	return validTimes(what, c.Created, c.Revoked)
}

// worker takes over w, and zeroes its counts.
func (b *builder) worker(w *Worker) error {
	what := fmt.Sprintf("worker %s of pool %s", w.Name, w.Pool)
	p, ok := b.s.Pool(w.Pool)
	if !ok {
		return fmt.Errorf("%s: no such pool", what)
	}
	if err := w.validate(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if last, ok := b.s.workers.t.Max(); ok && !workerLess(last, w) {
		return misplaced(what)
	}
	w.Pool, w.Used, w.Leases = p.Name, 0, 0
	p.Workers++
	b.s.workers.load(w)
	return validTimes(what, w.FirstSeen)
}

func (b *builder) hint(h *Hint) error {
	what := fmt.Sprintf("hint %s of worker %s of pool %s", quote(h.Hint), h.Worker, h.Pool)
	w, ok := b.s.Worker(h.Pool, h.Worker)
	if !ok {
		return fmt.Errorf("%s: no such worker", what)
	}
	if err := ValidateHint(h.Hint); err != nil || h.Hint == "" {
		return fmt.Errorf("%s: not a hint", what)
	}
	if last, ok := b.s.hints.t.Max(); ok {
		if !hintLess(last, h) {
			return misplaced(what)
		}
		if last.Hint == h.Hint {
			h.Hint = last.Hint
		}
	}
	h.Pool, h.Worker = w.Pool, w.Name
	b.s.hints.load(h)
	b.s.hintsByUse.set(h)
	b.s.hintsByWorker.set(h)
	p, _ := b.s.pools.get(h.Pool)
	if p.Hints++; p.Hints > MaxHints {
		return fmt.Errorf("pool %s has more than %d hints", p.Name, MaxHints)
	}
	return validTimes(what, h.Used)
}

func (b *builder) key(k *requestKey) error {
	if err := k.validate(b.s); err != nil {
		return fmt.Errorf("request key %s of client %s: %w", quote(k.id), quote(k.client), err)
	}
	if p, ok := b.s.pools.get(k.pool); ok {
		k.pool = p.Name
	}
	if j, ok := b.s.jobs.get(k.job); ok && j.Client == k.client && j.RequestKey == k.id {
		k.client, k.id = j.Client, j.RequestKey // one string each
	}
	b.s.linkKey(k)
	return nil
}

func (k *requestKey) validate(s *State) error {
	if err := ValidateRequestKey(k.id); err != nil {
		return err
	}
	if err := ValidateName("client", k.client); err != nil {
		return err
	}
	if k.job == 0 || k.job > s.lastJob {
		return fmt.Errorf("it names job %d; the newest is %d", k.job, s.lastJob)
	}
	if last, ok := s.keys.t.Max(); ok && !keyLess(last, k) {
		return misplaced("it")
	}
	return validTimes("it", k.made)
}

func (b *builder) cost(c *Cost) error {
	what := fmt.Sprintf("cost of client %s and hint %s in pool %s", quote(c.Client), quote(c.Hint), c.Pool)
	p, ok := b.s.Pool(c.Pool)
	switch {
	case !ok:
		return fmt.Errorf("%s: no such pool", what)
	case (c.Client == "") == (c.Hint == "") || c.Plain && c.Client == "":
		return fmt.Errorf("%s: it is of a client or of a hint", what)
	case ValidateHint(c.Hint) != nil:
		return fmt.Errorf("%s: not a hint", what)
	case c.Client != "" && ValidateName("client", c.Client) != nil:
		return fmt.Errorf("%s: not a client's name", what)
	case c.Cached == 0 && c.Uncached == 0, c.Plain && c.Cached != 0:
		return fmt.Errorf("%s: not measured", what)
	}
	if last, ok := b.s.costs.t.Max(); ok && !costLess(last, c) {
		return misplaced(what)
	}
	c.Pool = p.Name
	b.s.costs.load(c)
	b.s.costsByUse.set(c)
	if p.Costs++; p.Costs > MaxCosts {
		return fmt.Errorf("pool %s has more than %d costs", p.Name, MaxCosts)
	}
	return validTimes(what, c.Cached, c.Uncached, c.Used)
}

// done checks what only the whole can tell, and gives the state.
func (b *builder) done() (*State, error) {
	for p := range b.s.pools.values() {
		if p.deleted && (p.Settled == 0 || p.Queued+p.Backoff+p.Running+p.Workers > 0) {
			return nil, fmt.Errorf("pool %s is deleted, and not only its finished jobs are left", p.Name)
		}
	}
	for h := range b.s.shares.all() {
		if _, ok := b.s.Client(h.Client); !ok && h.Waiting+h.Running == 0 {
			return nil, fmt.Errorf("share of client %s in pool %s: no such client, and no jobs", h.Client, h.Pool)
		}
	}
	return b.s, nil
}

func misplaced(what string) error {
	return fmt.Errorf("%s is repeated or out of order", what)
}

// validTimes checks that times are set or zero, and none is absurd.
func validTimes(what string, times ...int64) error {
	for _, t := range times {
		if t < 0 || t > 2*maxTime {
			return fmt.Errorf("%s: time %d is out of range", what, t)
		}
	}
	return nil
}
