package aiosim

import (
	"math/bits"

	"github.com/fserve/fserve/internal/aio"
)

// find returns the slot of a token, whatever its state, or nil.
func (d *driver) find(t aio.Token) *slot {
	n := t.Slot()
	if n < uint32(len(d.slots)) {
		return d.slots[n]
	}
	return d.far[n]
}

// claim returns a free slot for a new use with token t; nil is a violation.
func (d *driver) claim(k kind, t aio.Token) *slot {
	if t&^aio.TokenMask != 0 || t.Slot() >= aio.MaxSlots {
		d.w.violate("%v with token %#x, which is none", k, uint64(t))
		return nil
	}
	s := d.find(t)
	if s == nil {
		s = d.addSlot(t.Slot())
	}
	switch {
	case s.state == slotOpen:
		d.w.violate("%v of slot %d, which is open", k, t.Slot())
	case s.state == slotClosing:
		d.w.violate("%v of slot %d before its Closed", k, t.Slot())
	case s.used && s.tok == t:
		d.w.violate("%v of slot %d with the generation of its last use", k, t.Slot())
	default:
		return s
	}
	return nil
}

func (d *driver) addSlot(n uint32) *slot {
	s := new(slot)
	d.order = append(d.order, s)
	if n >= smallSlots {
		if d.far == nil {
			d.far = make(map[uint32]*slot)
		}
		d.far[n] = s
		return s
	}
	if int(n) >= len(d.slots) {
		size := 1 << bits.Len32(n|15)
		d.slots = append(d.slots, make([]*slot, size-len(d.slots))...)
	}
	d.slots[n] = s
	return s
}
