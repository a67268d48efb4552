package session

import "testing"

// A renewal counts from its sending, and an acknowledgement from an earlier session,
// or of nothing that was sent, counts for nothing.
func TestRenewals(t *testing.T) {
	var r renewals
	r.begin(5)
	if r.last != 5 {
		t.Fatalf("a hello that was sent at 5 renews at %v", r.last)
	}
	r.sent(1)
	r.sent(2)
	first, second := r.pending[1], r.pending[2]
	if first == 0 || second < first {
		t.Fatalf("sent at %v and %v", first, second)
	}
	r.acknowledged(7)
	if r.last != 5 {
		t.Errorf("an answer to nothing renews at %v", r.last)
	}
	r.acknowledged(1)
	if r.last != first {
		t.Errorf("renewed at %v, the first was sent at %v", r.last, first)
	}
	r.acknowledged(2)
	r.acknowledged(1)
	if r.last != second || len(r.pending) != 0 {
		t.Errorf("renewed at %v, the second was sent at %v; %d pend", r.last, second, len(r.pending))
	}
	r.sent(3)
	r.begin(6)
	r.acknowledged(3)
	if r.last != second {
		t.Errorf("a new session's number 3 was not sent, and renews at %v", r.last)
	}
}
