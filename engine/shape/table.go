package shape

// Row is a row in the table of a node: who says how fast it may go. What holds is
// the least of all rows, but that an override is in the place of what is configured, also
// if it is the higher of the two.
type Row uint8

const (
	RowConfigured Row = iota // the configuration of the level, or of the path class; what responses of a client bring
	RowOverride              // the limit of one client, see [Shaper.SetClient]; of one response, see [Tree.SetLimit]
	RowCap                   // a profile, see [Shaper.SetCaps]
	RowFound                 // what adaptation has found, see [Tree.AdaptClient]
	RowShare                 // this process's part, see [Shaper.SetShares]

	NumRows = 5
)

// String returns a word for answers and logs.
func (r Row) String() string {
	if r < NumRows {
		return [NumRows]string{"configured", "override", "cap", "found", "share"}[r]
	}
	return "unknown"
}

// table is what is said about the rate of a node, row by row. The zero value says
// nothing.
type table struct {
	said

	// RowFound is brought by the loops.
	found Rate
	seq   uint64 // of what is found, the higher one counts

	// brought is in the place of limit, unless that is of RowOverride. If it has no rate that of limit holds.
	brought *Limit // see [Flow.SetClientLimit]; not changed; nil: none
	order   uint64 // of what is brought, the higher one counts
}

// said is the part of a table that the Shaper says.
type said struct {
	limit *Limit // of RowConfigured, or of RowOverride in its place; not changed; nil: none
	first Row    // which of these two
	cap   Rate
	share Rate
	epoch uint64 // of the configuration that says this
}

var noLimit Limit

// configured returns the limit of the rows RowConfigured and RowOverride. It must not be changed.
func (t *table) configured() *Limit {
	switch {
	case t.brought != nil && t.first != RowOverride:
		return t.brought
	case t.limit == nil:
		return &noLimit
	}
	return t.limit
}

// inForce returns the limit that holds, and the row that says its rate: of equal
// rates the first one.
func (t *table) inForce() (l Limit, by Row) {
	l, by = *t.configured(), t.first
	if t.limit != nil && l.Rate == Unlimited {
		l.Rate, l.Burst = t.limit.Rate, t.limit.Burst // what is brought has none
	}
	for i, r := range [...]Rate{t.cap, t.found, t.share} {
		if r.Below(l.Rate) {
			l.Rate, by = r, RowCap+Row(i)
		}
	}
	return l, by
}

// limits reports whether anything is held back.
func (t *table) limits() bool {
	l, _ := t.inForce()
	return l.limits()
}

// update takes over what another table of the same node knows that is later. It
// reports whether there is any.
func (t *table) update(o *table) (news bool) {
	if o.epoch > t.epoch {
		t.said, news = o.said, true
	}
	if o.seq > t.seq {
		t.found, t.seq, news = o.found, o.seq, true
	}
	if o.order > t.order {
		t.brought, t.order, news = o.brought, o.order, true
	}
	return news
}

// with returns the table with another rate that is found.
func (t table) with(found Rate, seq uint64) table {
	t.found, t.seq = found, seq
	return t
}
