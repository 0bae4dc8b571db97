package config

import "testing"

// Whatever a file has in it, reading ends; what is read without a fault is the
// same when it is written and read again; and every fault has its place.
func FuzzFile(f *testing.F) {
	for _, s := range []string{
		"", "root: /r", "root: /r\nroot: /s", "limits: {paths: {/a/: 1MiB/s, /b/: {rate: 2MiB/s, weight: 3}}}",
		"listen: &a [b]\nproxy_protocol: *a", "a: &a [*a]", "files: {headers: ['/=X: y'], error_pages: {404: /x}}",
		"\xff", "- - -", "tls:\n  <<: 3", "unix_mode: 0600\ntimeouts: {send: 1h30m}", "? [a]\n: b", "files: {listing: x, server_field: [a], symlinks: deny}\nhosts: {h: {listing: , dotfiles: 3, download_param: {}}}", "root: \"\\0\"", "--- a\n--- b", "%TAG ! x:\n---\nroot: !a b",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		b := newBuild()
		b.readFile("f.yaml", content)
		for _, p := range b.problems {
			if p.Origin.Name != "f.yaml" || p.Text == "" {
				t.Errorf("%+v", p)
			}
			if p.Origin.Line > len(content)+1 { // YAML knows five ends of lines
				t.Errorf("line %d of %q", p.Origin.Line, content)
			}
		}
		b.cfg.Validate()
		if len(b.problems) == 0 {
			sameWhenRead(t, b.cfg)
		}
	})
}

// A limit as a flag has it is the same when it is written and read again.
func FuzzLimit(f *testing.F) {
	for _, s := range []string{"1MiB/s", "80Mbit/s,weight=4", "unlimited,burst=1MiB,guarantee=1B/s,priority=-3", "0B/s", "1", ",,", "1MiB/s,weight=4,weight=4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var l, again Limit
		if l.Set(s) != nil {
			return
		}
		if err := again.Set(l.String()); err != nil || again != l {
			t.Errorf("%q is %v, which is read as %v, %v", s, l, again, err)
		}
	})
}
