package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fserve/fserve/bench/peer"
)

func TestSelectCases(t *testing.T) {
	sel, err := selectCases([]string{"10m", "1k"})
	if err != nil || len(sel) != 2 || sel[0].name != "1k" || sel[1].name != "10m" {
		t.Errorf("%v, error %v", sel, err)
	}
	if _, err := selectCases([]string{"1k", "2k"}); err == nil || !strings.Contains(err.Error(), `"2k"`) {
		t.Errorf("error %v", err)
	}
	if names := Names(); names[len(names)-1] != "cold" {
		t.Errorf("%v: cold drops the page cache and must come last", names)
	}
}

// Every case has all its parts, and a name of its own.
func TestCasesComplete(t *testing.T) {
	o := &Options{Conns: 64, IdleConns: 10, LargeFile: mib}
	seen := make(map[string]bool)
	for _, c := range cases {
		if seen[c.name] || c.about(o) == "" || len(c.files(o)) == 0 || len(c.metrics) == 0 ||
			c.site == nil || c.excluded == nil || c.verify == nil || c.run == nil {
			t.Errorf("case %q is incomplete", c.name)
		}
		seen[c.name] = true
	}
}

func contestants(names ...string) []Contestant {
	var field []Contestant
	for _, n := range names {
		field = append(field, Contestant{Spec: peer.Spec{Name: n, Kind: peer.Kind(n)}, Baseline: "nginx"})
	}
	return field
}

func TestWithThreads(t *testing.T) {
	for _, tc := range []struct {
		name     string
		field    []Contestant
		threads  bool
		want     string
		baseline string
		notes    int
	}{
		{"with", contestants("nginx", "fserve"), true, "nginx nginx-aio fserve", "nginx-aio", 0},
		{"without", contestants("nginx", "fserve"), false, "nginx fserve", "nginx", 1},
		{"no nginx", contestants("fserve", "floor"), true, "fserve floor", "nginx", 0},
	} {
		before := slices.Clone(tc.field)
		got, notes := withThreads(tc.field, peer.NginxInfo{Threads: tc.threads})
		var names []string
		for _, c := range got {
			names = append(names, c.Name)
			if c.Baseline != tc.baseline {
				t.Errorf("%s: baseline of %s is %s", tc.name, c.Name, c.Baseline)
			}
		}
		if strings.Join(names, " ") != tc.want || len(notes) != tc.notes {
			t.Errorf("%s: %v, notes %q", tc.name, names, notes)
		}
		for i := range before {
			if before[i].Baseline != tc.field[i].Baseline {
				t.Errorf("%s: the caller's list was changed", tc.name)
			}
		}
	}
}

func TestFinite(t *testing.T) {
	for _, tc := range []struct {
		in []float64
		ok bool
	}{
		{[]float64{1, 0}, true}, {nil, true},
		{[]float64{1, math.NaN()}, false}, {[]float64{math.Inf(1)}, false},
	} {
		if err := finite(tc.in); (err == nil) != tc.ok {
			t.Errorf("%v: %v", tc.in, err)
		}
	}
}

func TestDisturbance(t *testing.T) {
	for _, tc := range []struct {
		others []float64
		load   int
		want   string
	}{
		{[]float64{0.01, 0.03}, 1, ""},
		{[]float64{0.01, 0.5, 0.02}, 1, "median of the runs; at most 50 %"},
		{[]float64{0.5}, 0, ""}, // the load itself is on that core
		{nil, 1, ""},
	} {
		r := &runner{Options: Options{LoadCPU: tc.load}, others: tc.others}
		got := strings.Join(r.disturbance(), "")
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%v: %q, want %q", tc.others, got, tc.want)
		}
	}
}

func TestEnsure(t *testing.T) {
	dir := t.TempDir()
	files := []file{{name: "a", size: 1000}, {name: "b", size: 3*mib + 5}, {name: "c/", size: 12, many: 3}}
	for range 2 {
		if err := ensure(dir, files); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range slices.Concat(files[0].members(), files[1].members(), files[2].members()) {
		b, err := os.ReadFile(filepath.Join(dir, f.name))
		if err != nil || int64(len(b)) != f.size {
			t.Fatalf("%s: %d bytes, error %v", f.name, len(b), err)
		}
		seen := make(map[string]bool)
		for i := 0; i+8 <= len(b); i += 8 {
			if seen[string(b[i:i+8])] {
				t.Fatalf("%s: the 8 bytes at %d occur twice", f.name, i)
			}
			seen[string(b[i:i+8])] = true
		}
		if err := resident(dir, f); err != nil {
			t.Error(err)
		}
	}
	if err := ensure(filepath.Join(dir, "none"), files); err == nil {
		t.Error("no error for a directory that does not exist")
	}
}

// reply says how a test server departs from what is right.
type reply struct {
	status int
	flip   int64 // this byte of the body is changed; -1: none
	cut    int64 // bytes missing from the body, or from the length too
	length bool
	cr     string // Content-Range
}

// The verification accepts what is right, and nothing else.
func TestVerify(t *testing.T) {
	const size = 600 << 10
	f := file{name: "f", size: size}
	root := t.TempDir()
	if err := ensure(root, []file{f}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(root, f.name))
	if err != nil {
		t.Fatal(err)
	}
	part := span{8192, 4096}
	for _, tc := range []struct {
		name string
		span span
		r    reply
		want string // "": right
	}{
		{"whole", span{}, reply{status: 200, flip: -1}, ""},
		{"first byte", span{}, reply{status: 200, flip: 0}, "contents differ"},
		{"last byte", span{}, reply{status: 200, flip: size - 1}, "contents differ"},
		{"status", span{}, reply{status: 203, flip: -1}, "status 203"},
		{"short", span{}, reply{status: 200, flip: -1, cut: 1, length: true}, "Content-Length"},
		{"cut off", span{}, reply{status: 200, flip: -1, cut: 1}, "differ"},
		{"range", part, reply{status: 206, flip: -1, cr: "bytes 8192-12287/614400"}, ""},
		{"range ignored", part, reply{status: 200, flip: -1}, "status 200"},
		{"other range", part, reply{status: 206, flip: -1, cr: "bytes 0-4095/614400"}, "Content-Range"},
		{"byte of a range", part, reply{status: 206, flip: 17, cr: "bytes 8192-12287/614400"}, "contents differ"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := data
			if tc.span.len > 0 {
				body = data[tc.span.off : tc.span.off+tc.span.len]
			}
			srv := httptest.NewServer(tc.r.handler(body))
			defer srv.Close()
			v := newVerifier(root)
			defer v.close()
			err := v.get(t.Context(), &peer.Server{Addr: srv.Listener.Addr().String()}, f, tc.span, false)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func (r reply) handler(body []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		b := bytes.Clone(body)
		if r.flip >= 0 {
			b[r.flip] ^= 1
		}
		length := int64(len(b))
		if r.length {
			length -= r.cut
		}
		if r.cr != "" {
			w.Header().Set("Content-Range", r.cr)
		}
		w.Header().Set("Content-Length", fmt.Sprint(length))
		w.WriteHeader(r.status)
		_, _ = w.Write(b[:int64(len(b))-r.cut]) // the client may have gone
	})
}

func TestSame(t *testing.T) {
	broken := errors.New("broken")
	for _, tc := range []struct {
		name      string
		got, want io.Reader
		ok        bool
	}{
		{"equal", strings.NewReader("abc"), strings.NewReader("abc"), true},
		{"empty", strings.NewReader(""), strings.NewReader(""), true},
		{"longer", strings.NewReader("abcd"), strings.NewReader("abc"), false},
		{"shorter", strings.NewReader("ab"), strings.NewReader("abc"), false},
		{"broken", io.MultiReader(strings.NewReader("abc"), errReader{broken}), strings.NewReader("abc"), false},
	} {
		if err := same(tc.got, tc.want); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestOnMemoryFS(t *testing.T) {
	if memory, err := onMemoryFS("/proc"); err != nil || memory {
		t.Errorf("/proc: %v, error %v", memory, err)
	}
	if _, err := onMemoryFS("/does/not/exist"); err == nil {
		t.Error("no error")
	}
}

// Nothing is left behind when a run ends early.
func TestRunCancelled(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := Options{Cases: []string{"1k"}, Contestants: contestants("floor"), Pairs: 1, Dir: dir, Progress: io.Discard}
	if err := Run(ctx, o, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, error %v", left, err)
	}
}
