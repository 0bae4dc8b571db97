package loop

import "github.com/fserve/fserve/internal/aio"

// slab is how many connections are allocated together.
const slab = 256

// conns numbers connections (and listeners) by slot.
type conns struct {
	slabs [][]Conn
	gens  []uint32
	free  []uint32
	open  int
}

// get returns a free slot; ok is false when limit slots are in use.
func (s *conns) get(limit int) (slot uint32, ok bool) {
	if s.open >= limit {
		return 0, false
	}
	if len(s.free) == 0 {
		first := uint32(len(s.slabs) * slab)
		s.slabs = append(s.slabs, make([]Conn, slab))
		for i := uint32(slab); i > 0; i-- {
			s.free = append(s.free, first+i-1)
			s.gens = append(s.gens, 0)
		}
	}
	slot = s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.open++
	s.gens[slot]++
	return slot, true
}

func (s *conns) token(slot uint32) aio.Token { return aio.MakeToken(slot, s.gens[slot]) }

func (s *conns) put(slot uint32) {
	s.free = append(s.free, slot)
	s.open--
}

// of returns the connection of a token, nil if the slot is used anew.
func (s *conns) of(t aio.Token) *Conn {
	c := s.at(t.Slot())
	if c.token != t || c.state == connFree {
		return nil
	}
	return c
}

func (s *conns) at(slot uint32) *Conn { return &s.slabs[slot/slab][slot%slab] }
