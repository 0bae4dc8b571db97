package driver

import (
	"errors"
	"syscall"
	"testing"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
	"github.com/fserve/fserve/internal/testenv"
)

func newBase(w Waits[int]) *Base[int] {
	b := new(Base[int])
	b.Init(aio.Config{}, w)
	return b
}

func adopt(t testing.TB, b *Base[int], tok aio.Token, fd int) *Slot[int] {
	t.Helper()
	s, err := b.Adopt(tok, fd)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSlotUses follows a slot through two uses: a token finds it in its own use
// only, and the epoch of what it sends never comes back.
func TestSlotUses(t *testing.T) {
	b := newBase(Waits[int]{})
	first, second := aio.MakeToken(3, 1), aio.MakeToken(3, 2)
	if b.Get(first) != nil || b.Find(first) != nil {
		t.Fatal("there is a slot in an empty table")
	}
	s := adopt(t, b, first, 7)
	s.Own = 1
	if s.FD != 7 || b.Get(first) != s || b.Find(first) != s || b.At(first) != s {
		t.Errorf("the slot is not found: %+v", s)
	}
	if b.Get(second) != nil || b.Find(second) != nil || b.Shut(second) != nil {
		t.Error("a token of another generation finds the slot")
	}
	epoch := s.Move.Epoch
	if b.Shut(first) != s || !s.IsClosing() || b.Shut(first) != nil {
		t.Error("an open slot is shut once")
	}
	if b.Get(first) != nil || b.Find(first) != s {
		t.Error("a closing slot is found, but not as open")
	}
	if _, err := b.Adopt(second, 8); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("adopt a closing slot: %v, want %v", err, syscall.EBUSY)
	}
	b.Free(s)
	if b.Find(first) != nil {
		t.Error("a free slot is found")
	}
	s = adopt(t, b, second, 8)
	if s.Own != 0 || b.Get(first) != nil || b.Get(second) != s {
		t.Errorf("the second use is not new: %+v", s)
	}
	if s.Move.Epoch == epoch {
		t.Error("the second use has the epoch of the first")
	}
	if _, err := b.Adopt(first, 9); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("adopt an open slot: %v, want %v", err, syscall.EBUSY)
	}
}

// TestTableGrows adopts slots near and far: those before stay what they are.
func TestTableGrows(t *testing.T) {
	b := newBase(Waits[int]{})
	tokens := []aio.Token{aio.MakeToken(0, 1)}
	for i := uint32(1); i < aio.MaxSlots>>6; i = 2*i + 1 {
		tokens = append(tokens, aio.MakeToken(i, i))
	}
	for i, tok := range tokens {
		adopt(t, b, tok, i)
	}
	for i, tok := range tokens {
		if s := b.Get(tok); s == nil || s.FD != int32(i) {
			t.Errorf("slot %d: %+v", tok.Slot(), s)
		}
	}
	b.Free(b.Shut(tokens[0]))
	b.Shut(tokens[1])
	n := 0
	for tok, s := range b.All() {
		if b.Get(tok) != s {
			t.Errorf("token %#x is not that of its slot", uint64(tok))
		}
		n++
	}
	if n != len(tokens)-2 {
		t.Errorf("%d slots are open, want %d", n, len(tokens)-2)
	}
	if _, err := b.Adopt(aio.MakeToken(aio.MaxSlots, 1), 1); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("slot beyond the limit: %v, want %v", err, syscall.EINVAL)
	}
}

// TestAttempts checks when the slot lets an attempt be made, and what of a failure
// it keeps.
func TestAttempts(t *testing.T) {
	testenv.LeakCheck(t)
	rooms := 0
	b := newBase(Waits[int]{Room: func(aio.Token, *Slot[int]) { rooms++ }})
	fd, peer := testenv.Pair(t, testenv.SockOptions{SendBuffer: 16 << 10, RecvBuffer: 16 << 10})
	tok := aio.MakeToken(0, 1)
	if sent := b.Send(tok, []byte("x"), nil, false); sent.Err != syscall.EBADF {
		t.Errorf("attempt on no slot: %v, want %v", sent.Err, syscall.EBADF)
	}
	s := adopt(t, b, tok, fd)
	for sent := (aio.Sent{}); sent.Status == aio.OK; {
		sent = b.Send(tok, make([]byte, 64<<10), nil, false)
	}
	if s.Wait != ForRoom || rooms != 1 {
		t.Errorf("a full socket: slot waits %d, driver was told %d times", s.Wait, rooms)
	}
	for _, s.Wait = range []Wait{ForRoom, ForDisk, ForDelivery} {
		if sent := b.Send(tok, []byte("x"), nil, false); sent.Err != syscall.EALREADY {
			t.Errorf("attempt while the slot waits %d: %v, want %v", s.Wait, sent.Err, syscall.EALREADY)
		}
		if b.Stage(tok, &aio.File{}, 0, 1) {
			t.Errorf("taken while the slot waits %d", s.Wait)
		}
	}
	s.Wait = ForNothing
	peer.Reset()
	testenv.AwaitReset(t, fd)
	if sent := b.Send(tok, []byte("x"), nil, false); sent.Err != syscall.ECONNRESET || s.Wait != ForNothing {
		t.Errorf("attempt after a reset: %v, slot waits %d", sent.Err, s.Wait)
	}
	if e := s.PopErr(); e != syscall.ECONNRESET {
		t.Errorf("the slot keeps %v, want %v", e, syscall.ECONNRESET)
	}
	if e := s.PopErr(); e != 0 {
		t.Errorf("the slot keeps %v after it was taken", e)
	}
	syscall.Close(fd)
}

// TestFetches ends fetches of a slot that waits, that does not, and that goes on
// with something else. The file is pinned as long as they last.
func TestFetches(t *testing.T) {
	file := testenv.NewPattern(60).File(t, t.TempDir(), 1<<20)
	testenv.NeedCold(t, file)
	f := testenv.Borrow(t, file)
	var b *Base[int]
	var under []Fetch
	takes := true
	b = newBase(Waits[int]{Fetch: func(tok aio.Token, s *Slot[int], f *aio.File, _ mover.Range) bool {
		if takes {
			under = append(under, b.BeginFetch(tok, s, f))
		}
		return takes
	}})
	fd, _ := testenv.Pair(t, testenv.SockOptions{})
	defer syscall.Close(fd)
	tok := aio.MakeToken(0, 1)
	s := adopt(t, b, tok, fd)
	begin := func() Fetch {
		t.Helper()
		sent := b.SendFile(tok, f, 0, 1000, false)
		if sent.Status != aio.BlockedDisk || s.Wait != ForDisk || f.Pins != 1 {
			t.Fatalf("status %d, slot waits %d, %d pins", sent.Status, s.Wait, f.Pins)
		}
		return under[len(under)-1]
	}
	if got, fault := b.EndFetch(begin(), syscall.EIO); got != s || fault != syscall.EIO || s.Wait != ForDelivery {
		t.Errorf("awaited: slot %p, %v, waits %d", got, fault, s.Wait)
	}
	s.Wait = ForNothing
	fetch := begin()
	s.Wait = ForNothing
	// Not 0: where pages are said to have come is asked for page by page, which brings in the first.
	if got, _ := b.EndFetch(fetch, syscall.EAGAIN); got != nil {
		t.Error("a slot that does not wait is ready")
	}
	b.Mover.Reset(&s.Move)
	fetch = begin()
	b.Mover.Reset(&s.Move)
	if got, _ := b.EndFetch(fetch, 0); got != nil || s.Wait != ForDisk {
		t.Error("a slot is ready by the fetch for something else")
	}
	if f.Pins != 0 || b.Counters.ColdReads != 3 {
		t.Errorf("%d pins, %d fetches, want 0 and 3", f.Pins, b.Counters.ColdReads)
	}
	s.Wait, takes = ForNothing, false
	if sent := b.SendFile(tok, f, 0, 1000, false); sent.N != 1000 || f.Pins != 0 {
		t.Errorf("where nothing can be fetched: %d bytes, status %d, %d pins", sent.N, sent.Status, f.Pins)
	}
}
