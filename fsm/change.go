package fsm

// A pool, a worker and a share change with every command. Their records are
// immutable to whoever found one in a query, but nobody can have found one that
// was made in the present batch: it is changed in place. The others are copied,
// once a batch.

// changePool returns a pool's record to be changed.
func (s *State) changePool(name string) *Pool {
	p, _ := s.pools.get(name)
	if p.batch == s.batch {
		return p
	}
	next := *p
	next.batch = s.batch
	s.pools.set(next.Name, &next)
	return &next
}

// changeWorker returns a worker's record to be changed.
func (s *State) changeWorker(pool, name string) *Worker {
	w, _ := s.worker(pool, name)
	if w.batch == s.batch {
		return w
	}
	next := *w
	next.batch = s.batch
	s.workers.set(&next)
	return &next
}

// changeShare returns a client's share to be changed, a new one if need be.
func (s *State) changeShare(pool, client string) *Share {
	h, ok := s.share(pool, client)
	if ok && h.batch == s.batch {
		return h
	}
	next := Share{Pool: pool, Client: client}
	if ok {
		next = *h
	}
	next.batch = s.batch
	s.shares.set(&next)
	return &next
}

// worker is Worker for Apply, which is alone.
func (s *State) worker(pool, name string) (*Worker, bool) {
	s.probe.worker.Pool, s.probe.worker.Name = pool, name
	return s.workers.get(&s.probe.worker)
}

// share is Share for Apply, which is alone.
func (s *State) share(pool, client string) (*Share, bool) {
	s.probe.share.Pool, s.probe.share.Client = pool, client
	return s.shares.get(&s.probe.share)
}
