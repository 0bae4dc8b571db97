package tls

import (
	"testing"
	"time"
)

func TestTicketKeysRotate(t *testing.T) {
	var k tickets
	now := time.Unix(1_800_000_000, 0)
	first, _ := k.current(now)
	for _, c := range []struct {
		after time.Duration
		keys  int
		fresh bool
	}{{ticketLife - 1, 1, false}, {ticketLife, 2, true}, {2*ticketLife - 1, 2, false}, {3 * ticketLife, 3, true}} {
		_, before := k.current(now)
		keys, newly := k.current(now.Add(c.after))
		if len(keys) != c.keys || (newly != before) != c.fresh || keys[len(keys)-1] != first[0] {
			t.Errorf("after %v: %d keys, changed %v", c.after, len(keys), newly != before)
		}
		for i := range keys[1:] {
			if keys[i].Made <= keys[i+1].Made {
				t.Errorf("after %v: key %d is not the newest", c.after, i)
			}
		}
	}
	if keys, _ := k.current(now.Add(ticketMemory)); len(keys) != 3 || keys[2] == first[0] {
		t.Errorf("a week later: %d keys", len(keys))
	}
}

// A successor resumes sessions of its predecessor, and encrypts with the newer key.
func TestTicketKeysAreLearned(t *testing.T) {
	old, young := &Front{}, &Front{}
	was := old.TicketKeys()
	is := young.TicketKeys()
	was[0].Made--
	for range 2 { // what is known already adds nothing
		young.LearnTicketKeys(was)
	}
	if got := young.TicketKeys(); len(got) != 2 || got[0] != is[0] || got[1] != was[0] {
		t.Errorf("%d keys", len(got))
	}
	(*Front)(nil).LearnTicketKeys((*Front)(nil).TicketKeys())
}
