package httpfile

import "testing"

func TestParseMethod(t *testing.T) {
	for _, c := range []struct {
		token string
		want  Method
	}{
		{"GET", MethodGet}, {"HEAD", MethodHead}, {"OPTIONS", MethodOptions},
		{"POST", MethodRefused}, {"PUT", MethodRefused}, {"DELETE", MethodRefused},
		{"TRACE", MethodRefused}, {"PATCH", MethodRefused}, {"CONNECT", MethodRefused},
		{"", MethodUnknown}, {"get", MethodUnknown}, {"GETS", MethodUnknown}, {"BREW", MethodUnknown},
		{"PROPFIND", MethodRefused}, {"VERSION-CONTROL", MethodRefused}, {"QUERY", MethodRefused}, {"propfind", MethodUnknown},
	} {
		if got := ParseMethod([]byte(c.token)); got != c.want {
			t.Errorf("%q: %d", c.token, got)
		}
	}
}

func TestAddField(t *testing.T) {
	var r Request
	for _, c := range []struct {
		name  string
		field *[]byte
	}{
		{"If-Match", &r.IfMatch}, {"if-none-match", &r.IfNoneMatch}, {"ACCEPT-ENCODING", &r.AcceptEncoding},
		{"If-Modified-Since", &r.IfModifiedSince}, {"If-Unmodified-Since", &r.IfUnmodifiedSince},
		{"If-Range", &r.IfRange}, {"rANGE", &r.Range},
	} {
		if !r.AddField([]byte(c.name), []byte("v "+c.name)) || string(*c.field) != "v "+c.name {
			t.Errorf("%s: %q", c.name, *c.field)
		}
	}
	for _, name := range []string{"", "Rang", "Ranges", "Rnage", "If-Natch", "If_Match", "Accept-Language", "If-Modified-Sinc\xc5", "Host", "If\rMatch"} {
		if r.AddField([]byte(name), []byte("x")) {
			t.Errorf("%q was taken", name)
		}
	}
	r.Reset()
	if r.Range != nil || r.IfMatch != nil || r.AcceptEncoding != nil {
		t.Error("Reset left fields")
	}
	if !r.AddField([]byte("Range"), nil) || r.Range == nil {
		t.Error("an empty field is absent")
	}
}

func TestAddFieldRepeated(t *testing.T) {
	r := parseRequest(t, "GET\nIf-Match: a\nIf-None-Match: b\nIf-Match: c\nIf-Match: \nAccept-Encoding: gzip\nAccept-Encoding: br\nIf-None-Match: d")
	for _, c := range []struct {
		got  []byte
		want string
	}{{r.IfMatch, "a, c, "}, {r.IfNoneMatch, "b, d"}, {r.AcceptEncoding, "gzip, br"}} {
		if string(c.got) != c.want {
			t.Errorf("joined %q, want %q", c.got, c.want)
		}
	}
	r = parseRequest(t, "GET\nRange: bytes=0-1\nRange: bytes=5-6\nIf-Range: x\nIf-Range: x\nIf-Range: x")
	if string(r.Range) != "repeated" || string(r.IfRange) != "repeated" {
		t.Errorf("Range %q, If-Range %q", r.Range, r.IfRange)
	}
	r = parseRequest(t, "GET\nIf-Modified-Since: x\nIf-Unmodified-Since: y\nIf-Unmodified-Since: y\nIf-Modified-Since: x")
	if string(r.IfModifiedSince) != "repeated" || string(r.IfUnmodifiedSince) != "repeated" {
		t.Errorf("If-Modified-Since %q, If-Unmodified-Since %q", r.IfModifiedSince, r.IfUnmodifiedSince)
	}
	value := []byte("v")
	if string(Single(value, false)) != "v" || Single(nil, false) != nil || string(Single(value, true)) != "repeated" {
		t.Error("Single")
	}
}
