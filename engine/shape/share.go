package shape

import "fmt"

// Node names a node of the tree. The name is the prefix of a path class, or the client;
// empty for the whole (LevelGlobal) and for what holds by default at the other levels.
type Node struct {
	Level Level
	Name  string
}

func (n Node) String() string {
	if n.Name == "" {
		return n.Level.String()
	}
	return n.Level.String() + " " + n.Name
}

// Share is the part of a node's limit that this process may use.
type Share struct {
	Node
	Rate Rate
}

// check returns why a share cannot be set. The caller holds mu.
func (s *Shaper) check(sh *Share) error {
	switch {
	case (Limit{Rate: sh.Rate}).Validate() != nil:
		return fmt.Errorf("shape: share of %v: %d is not from 0 to %d bytes per second", sh.Node, sh.Rate, MaxRate)
	case sh.Level == LevelGlobal && sh.Name == "":
	case sh.Level == LevelClient && sh.Name != "":
	case sh.Level == LevelPath && s.classOf(sh.Name) != nil:
	default:
		return fmt.Errorf("shape: share of %v: there is no such node", sh.Node)
	}
	return nil
}

// SetShares sets the shares of some nodes, where other processes serve under the same limits;
// [Unlimited]: all of the limit. A share is a row of its own: it holds nothing back where
// it is not the least, and stays when the limit changes. The share of a path class goes with
// the class; that of a client stays until it is set to Unlimited.
//
// All shares of a call come into force together; if one is wrong, none does. A call
// wakes the loops once and costs each of them about a microsecond for each share that
// changes, however many clients there are; more than 256 changes between two turns of a
// loop cost it a look at all its clients. What waits below a node for a grant of the
// former size waits until that is there.
func (s *Shaper) SetShares(shares ...Share) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range shares {
		if err := s.check(&shares[i]); err != nil {
			return err
		}
	}
	changed := false
	for _, sh := range shares {
		changed = s.setShare(sh) || changed
	}
	if changed {
		s.moveOn()
	}
	return nil
}

// setShare sets a share that has been checked, and notes the change if it is one.
func (s *Shaper) setShare(sh Share) (changed bool) {
	ch := change{level: sh.Level}
	var was Rate
	switch sh.Level {
	case LevelGlobal:
		was, s.global.share = s.global.share, sh.Rate
	case LevelPath:
		ch.class = s.classOf(sh.Name)
		was, ch.class.table.share = ch.class.table.share, sh.Rate
	default:
		ch.client = ClientID(sh.Name)
		was, s.shares[ch.client] = s.shares[ch.client], sh.Rate
		if sh.Rate == Unlimited {
			delete(s.shares, ch.client)
		}
	}
	if was == sh.Rate {
		return false
	}
	s.changes.note(s.epoch.Load()+1, ch)
	return true
}

// Explain returns the limit in force at a node, and the row that says its rate: all
// that is said by way of the Shaper. What adaptation has found is known to the loops;
// [NodeReport] has it. ok is false if there is no such path class.
func (s *Shaper) Explain(n Node) (l Limit, by Row, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var t table
	switch n.Level {
	case LevelGlobal:
		t = s.global
	case LevelConnection:
		t = s.connection
	case LevelClient:
		t, _ = s.clientTable(ClientID(n.Name))
	default:
		c := s.classOf(n.Name)
		if c == nil {
			return Limit{}, 0, false
		}
		t = c.table
	}
	l, by = t.inForce()
	return l, by, true
}
