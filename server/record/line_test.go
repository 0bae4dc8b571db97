package record

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/wire"
)

// However long the fields of a request are, and whatever escapes they need, no more is held
// than came, nothing large is kept for the next request, and the line has their beginning.
func TestLongFieldsAreCut(t *testing.T) {
	tabs, line := strings.Repeat("x\t", 7<<10), "GET /"+strings.Repeat("a", 4<<10)+" HTTP/1.1"
	raw := []byte(line + "\r\nHost: h\r\nUser-Agent: " + tabs + "\r\nReferer: " + tabs + "\r\n\r\n")
	var head wire.Head
	if n, why := head.Parse(raw, 0, wire.Limits{MaxHead: 64 << 10}); n != len(raw) {
		t.Fatalf("%d of %d bytes: %v", n, len(raw), why)
	}
	for _, format := range []LogFormat{LogCombined, LogJSON} {
		var out bytes.Buffer
		log := NewAccessLogIn(format, &out)
		r := NewRecorder(new(Rows).filled())
		var rec Record
		r.Begin(&rec, log, &Request{Head: &head, Status: 200})
		if held := cap(rec.raw); held > len(line)+2*maxField+2<<10 {
			t.Errorf("%d bytes are held", held)
		}
		r.End(&rec, &engine.Outcome{}, 0)
		if kept := cap(rec.raw); kept > maxKept {
			t.Errorf("%d bytes are kept", kept)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		got := out.String()
		if format == LogCombined {
			field := `"` + strings.Repeat(`x\x09`, maxField/2) + `"`
			if want := `"GET /` + strings.Repeat("a", 4<<10) + ` HTTP/1.1" 200 0 ` + field + " " + field + "\n"; !strings.HasSuffix(got, want) {
				t.Errorf("%s", got)
			}
			continue
		}
		var parsed struct {
			Target, Referer string
			Agent           string `json:"user_agent"`
		}
		if err := json.Unmarshal(out.Bytes(), &parsed); err != nil {
			t.Fatal(err)
		}
		if want := tabs[:maxField]; parsed.Referer != want || parsed.Agent != want || parsed.Target != "/"+strings.Repeat("a", 4<<10) {
			t.Errorf("%s", got)
		}
	}
}
