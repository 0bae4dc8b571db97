package admin

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/fserve/fserve/engine/shape"
)

// FuzzLimitBody: a body is refused with a field that is there or missing, or is
// a limit that the level takes and that says the same when it is shown.
func FuzzLimitBody(f *testing.F) {
	for _, s := range []string{
		`{"rate":"10MiB/s","burst":"1MiB","weight":2,"priority":0,"guarantee":"1MiB/s","ttl":"1h"}`,
		`{"rate":"unlimited"}`, `{"rate":"0"}`, `{"rate":10}`, `{"rate":"1B/s","rate":"2B/s"}`, `{}`, `[`, "{\"\xff\":1}",
		`{"rate":"0.5KiB/s","weight":1000}`, `{"rate":"1bit/s"}`, `{"rate":"unlimited","guarantee":"0"}`,
	} {
		f.Add([]byte(s), byte(shape.LevelPath))
		f.Add([]byte(s), byte(shape.LevelClient))
	}
	f.Fuzz(func(t *testing.T, body []byte, at byte) {
		l := shape.LevelGlobal + shape.Level(at)%4
		o, p := parseObject(body, limitFields)
		if p == nil {
			var wanted order
			if wanted, p = readOrder(o, l); p == nil {
				checkOrder(t, l, wanted)
				if !json.Valid(bytes.TrimSpace(body)) {
					t.Errorf("%q is no JSON", body)
				}
				return
			}
		}
		if p.Status != http.StatusBadRequest || p.Detail == "" {
			t.Errorf("%+v", p)
		}
	})
}

func checkOrder(t *testing.T, l shape.Level, o order) {
	if p := takes(l, o.limit); p != nil {
		t.Errorf("%+v was taken: %v", o.limit, p)
	}
	v := viewLimit(o.limit, time.Time{})
	again := object{"rate": quote(v.Rate)}
	if v.Burst != "" {
		again["burst"] = quote(v.Burst)
	}
	if v.Guarantee != "" {
		again["guarantee"] = quote(v.Guarantee)
	}
	got, p := readOrder(again, shape.LevelPath)
	if p != nil {
		t.Fatalf("%+v is shown as %+v, which is refused: %v", o.limit, *v, p)
	}
	if got.limit.Rate != o.limit.Rate || got.limit.Burst != o.limit.Burst || got.limit.Guarantee != o.limit.Guarantee {
		t.Errorf("%+v is shown as %+v, which is %+v", o.limit, *v, got.limit)
	}
}

func quote(s string) json.RawMessage {
	b, _ := json.Marshal(s) // of a string it cannot fail
	return b
}

// FuzzTargetBody: POST /config takes a name and a number in range, or refuses.
func FuzzTargetBody(f *testing.F) {
	for _, s := range []string{
		`{"client_id":"user_123","target_bps":5242880}`, `{"client_id":"a","target_bps":0}`, `{"client_id":"a","target_bps":-1}`,
		`{"client_id":"","target_bps":1}`, `{"target_bps":1e3,"client_id":"\u0000"}`, `{"client_id":"\ud800","target_bps":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		client, s, pause, p := readSteer(httptest.NewRequest(http.MethodPost, "/config", bytes.NewReader(body)), false)
		if p != nil {
			if p.Status != http.StatusBadRequest || p.Detail == "" {
				t.Errorf("%+v", p)
			}
			return
		}
		if client == "" || len(client) > maxName || pause != (s.Target == 0) || s.Target < 0 || s.Target > int64(shape.MaxRate) {
			t.Errorf("%q, %d, paused %v", client, s.Target, pause)
		}
	})
}
