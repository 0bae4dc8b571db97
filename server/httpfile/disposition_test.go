package httpfile

import (
	"mime"
	"testing"
)

func TestDisposition(t *testing.T) {
	for _, c := range []struct{ path, want string }{
		{"/a/file.txt", `; filename="file.txt"`},
		{"/a b.txt", `; filename="a b.txt"`},
		{"/it's (1), ok;.txt", `; filename="it's (1), ok;.txt"`},
		{"/ä.txt", `; filename="_.txt"; filename*=UTF-8''%C3%A4.txt`},
		{"/日本.zip", `; filename="__.zip"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.zip`},
		{`/a"b.txt`, `; filename="a_b.txt"; filename*=UTF-8''a%22b.txt`},
		{"/50%25.txt", `; filename="50_25.txt"; filename*=UTF-8''50%2525.txt`},
		{"/a'ä*.txt", `; filename="a'_*.txt"; filename*=UTF-8''a%27%C3%A4%2A.txt`},
		// What is dangerous is gone from both
		{`/a\b.txt`, `; filename="a_b.txt"`},
		{"/a\r\nX: y.txt", `; filename="a__X: y.txt"`},
		{"/a\xff.txt", `; filename="a_.txt"`},
		{"/a\u202egpj.exe", `; filename="a_gpj.exe"`},
		{"/a\u2066b\u200fc", `; filename="a_b_c"`},
		{"/a\u2028b", `; filename="a_b"`},
		{"/a\u0085b", `; filename="a_b"`},
		{"/a\x7fb", `; filename="a_b"`},
		{"/dir/", ""},
		{"/", ""},
	} {
		got := dispositionNames(c.path)
		if got != c.want {
			t.Errorf("%q:\ngot  %s\nwant %s", c.path, got, c.want)
		}
	}
}

// TestDispositionReadBack reads names back with package mime.
func TestDispositionReadBack(t *testing.T) {
	for _, name := range []string{"file.txt", "ä ö.txt", `a"b%41.txt`, "it's;,.txt", "日本.zip", "a+b=c&d.tar.gz"} {
		kind, params, err := mime.ParseMediaType("attachment" + dispositionNames("/x/"+name))
		if err != nil || kind != "attachment" || params["filename"] != name {
			t.Errorf("%q is read back as %q, %v", name, params["filename"], err)
		}
	}
}
