package quota

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A file says what its whole lines say, wherever it is torn and whatever is in between.
func TestLines(t *testing.T) {
	alice, link := id{"al\nice \xff\"", Day.At(1_795_000_000)}, id{"link 7", Period{Life, 2_000_000_000}}
	var text bytes.Buffer
	addLine(&text, alice, 100)
	text.WriteString("\x00\xff\n12345678 d 1 1 \"x\"\n\n")
	sealLine(&text, "f quota-1-2.log")
	addLine(&text, link, 7)
	addLine(&text, alice, -30)
	path := filepath.Join(t.TempDir(), "log")
	for cut := range text.Len() + 1 {
		if err := os.WriteFile(path, text.Bytes()[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		_, s, taken, err := read(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := s[alice]; n != 0 && n != 100 && n != 70 || s[link] != 0 && s[link] != 7 || len(taken) > 1 {
			t.Fatalf("torn at %d: %v, %v", cut, s, taken)
		}
		if cut == text.Len() && (s[alice] != 70 || s[link] != 7 || len(s) != 2 || taken[0] != "quota-1-2.log") {
			t.Errorf("%v, %v", s, taken)
		}
	}
	f, err := claim(path)
	if f == nil || err != nil {
		t.Fatalf("nobody has it: %v", err)
	}
	if other, err := claim(path); other != nil || err != nil {
		t.Errorf("two have it: %v, %v", other, err)
	}
	if err := errors.Join(os.Remove(path), f.Close()); err != nil {
		t.Fatal(err)
	}
	if f, err := claim(path); f != nil || err != nil {
		t.Errorf("it is gone: %v, %v", f, err)
	}
}
