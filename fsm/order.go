package fsm

// The orders of the tables. Each is strict and total over what its table holds.

// queueLess is the order in which jobs are served: urgent first, then the fair
// start time, then the order of the submits.
func queueLess(a, b *Job) bool {
	switch {
	case a.Pool != b.Pool:
		return a.Pool < b.Pool
	case a.Urgent != b.Urgent:
		return a.Urgent
	case a.FairStart != b.FairStart:
		return a.FairStart < b.FairStart
	default:
		return a.ID < b.ID
	}
}

func backoffLess(a, b *Job) bool {
	if a.NotBefore != b.NotBefore {
		return a.NotBefore < b.NotBefore
	}
	return a.ID < b.ID
}

func patienceLess(a, b *Job) bool {
	if au, bu := a.WaitsUntil(), b.WaitsUntil(); au != bu {
		return au < bu
	}
	return a.ID < b.ID
}

func runningLess(a, b *Job) bool {
	if a.Pool != b.Pool {
		return a.Pool < b.Pool
	}
	if aw, bw := a.Worker(), b.Worker(); aw != bw {
		return aw < bw
	}
	return a.Lease < b.Lease
}

func settledLess(a, b settledJob) bool {
	switch {
	case a.pool != b.pool:
		return a.pool < b.pool
	case a.at != b.at:
		return a.at < b.at
	default:
		return a.id < b.id
	}
}

func clientJobLess(a, b clientJob) bool {
	if a.client != b.client {
		return a.client < b.client
	}
	return a.id < b.id
}

func pendingLess(a, b *pendingHint) bool {
	if a.pool != b.pool {
		return a.pool < b.pool
	}
	return a.hint < b.hint
}

func shareLess(a, b *Share) bool {
	if a.Pool != b.Pool {
		return a.Pool < b.Pool
	}
	return a.Client < b.Client
}

func workerLess(a, b *Worker) bool {
	if a.Pool != b.Pool {
		return a.Pool < b.Pool
	}
	return a.Name < b.Name
}

func hintLess(a, b *Hint) bool {
	switch {
	case a.Pool != b.Pool:
		return a.Pool < b.Pool
	case a.Hint != b.Hint:
		return a.Hint < b.Hint
	default:
		return a.Worker < b.Worker
	}
}

func hintUseLess(a, b *Hint) bool {
	switch {
	case a.Pool != b.Pool:
		return a.Pool < b.Pool
	case a.Used != b.Used:
		return a.Used < b.Used
	case a.Hint != b.Hint:
		return a.Hint < b.Hint
	default:
		return a.Worker < b.Worker
	}
}

func hintWorkerLess(a, b *Hint) bool {
	switch {
	case a.Pool != b.Pool:
		return a.Pool < b.Pool
	case a.Worker != b.Worker:
		return a.Worker < b.Worker
	default:
		return a.Hint < b.Hint
	}
}

func costLess(a, b *Cost) bool {
	switch {
	case a.Pool != b.Pool:
		return a.Pool < b.Pool
	case a.Client != b.Client:
		return a.Client < b.Client
	case a.Hint != b.Hint:
		return a.Hint < b.Hint
	default:
		return !a.Plain && b.Plain
	}
}

func costUseLess(a, b *Cost) bool {
	switch {
	case a.Pool != b.Pool:
		return a.Pool < b.Pool
	case a.Used != b.Used:
		return a.Used < b.Used
	default:
		return costLess(a, b)
	}
}

func keyLess(a, b *requestKey) bool {
	if a.client != b.client {
		return a.client < b.client
	}
	return a.id < b.id
}

func keyAgeLess(a, b *requestKey) bool {
	if a.made != b.made {
		return a.made < b.made
	}
	return keyLess(a, b)
}

func revokedLess(a, b revokedCapability) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return a.number < b.number
}
