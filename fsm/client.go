package fsm

import (
	"slices"

	"github.com/weirbuild/weir/proto/pb"
)

func (s *State) addClient(c *pb.AddClient) Result {
	rate := c.GetRate()
	if rate == 0 {
		rate = 1
	}
	if err := ValidateName("client", c.GetName()); err != nil {
		return refuse(Invalid, "add client: %v", err)
	}
	if err := ValidateRate(rate); err != nil {
		return refuse(Invalid, "add client %s: %v", c.GetName(), err)
	}
	if _, ok := s.Client(c.GetName()); ok {
		return refuse(Conflict, "there is a client %s already; make it another capability (weir cap create), or choose another name", c.GetName())
	}
	if s.clients.len() >= MaxClients {
		return refuse(Full, "there are %d clients, the limit; remove one that is not used", s.clients.len())
	}
	s.setClient(&Client{Name: c.GetName(), Rate: rate, Created: s.now})
	return Result{}
}

// removeClient ends a client's access: its capabilities are revoked. The jobs
// that were accepted from it stay accepted, and run; an operator may cancel them.
func (s *State) removeClient(c *pb.RemoveClient) Result {
	client, ok := s.Client(c.GetName())
	if !ok {
		return Result{Refusal: noClient(c.GetName())}
	}
	for _, cp := range slices.Collect(s.caps.values()) {
		if cp.Client == client.Name && cp.Revoked == 0 {
			s.revoke(cp)
		}
	}
	s.clients.del(client.Name)
	for _, p := range slices.Collect(s.pools.values()) {
		if h, ok := s.Share(p.Name, client.Name); ok {
			s.dropIfGone(h)
		}
	}
	s.emit(Event{Kind: ClientChanged, Client: client.Name})
	return Result{}
}

// setClientRate changes a client's rate for the jobs that it submits from now on.
func (s *State) setClientRate(c *pb.SetClientRate) Result {
	old, ok := s.Client(c.GetName())
	if !ok {
		return Result{Refusal: noClient(c.GetName())}
	}
	if err := ValidateRate(c.GetRate()); err != nil {
		return refuse(Invalid, "set rate of client %s: %v", old.Name, err)
	}
	if old.Rate == c.GetRate() {
		return Result{Repeat: true}
	}
	next := *old
	next.Rate = c.GetRate()
	s.setClient(&next)
	return Result{}
}

// setClientLimit changes how many jobs of a client may run at once in each pool.
func (s *State) setClientLimit(c *pb.SetClientLimit) Result {
	old, ok := s.Client(c.GetName())
	if !ok {
		return Result{Refusal: noClient(c.GetName())}
	}
	most := c.GetMaxRunning()
	if most < 0 || most > MaxQueued {
		return refuse(Invalid, "set limit of client %s: %d running jobs are out of range: 0 (as the pool says) to %d", old.Name, most, MaxQueued)
	}
	if old.MaxRunning == int(most) {
		return Result{Repeat: true}
	}
	next := *old
	next.MaxRunning = int(most)
	s.setClient(&next)
	return Result{}
}

func (s *State) setClient(c *Client) {
	s.clients.set(c.Name, c)
	s.emit(Event{Kind: ClientChanged, Client: c.Name})
}

func noClient(name string) *Refusal {
	return refusal(NotFound, "there is no client %s; add it with weir client add", quote(name))
}
