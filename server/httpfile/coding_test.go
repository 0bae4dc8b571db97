package httpfile

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestNegotiate(t *testing.T) {
	all := ServerOrder
	gz := []Coding{Gzip}
	for _, c := range []struct {
		field string
		avail []Coding
		want  Coding
	}{
		// By q, then in server order, Identity last
		{"gzip, br, zstd", all, Brotli},
		{"gzip, zstd", all, Zstd},
		{"gzip", all, Gzip},
		{"gzip, deflate, br, zstd", []Coding{Gzip, Zstd, Brotli}, Gzip},
		{"gzip;q=1.0, br;q=0.9, zstd;q=0.8", all, Gzip},
		{"gzip;q=0.5, br;q=0.5", all, Brotli},
		{"br;q=0.001", all, Brotli},
		{"br;q=0.001, gzip;q=0.002", all, Gzip},
		{"br, gzip", gz, Gzip},
		{"br", gz, Identity},
		{"deflate, compress", all, Identity},
		{"GZIP", all, Gzip},
		{"x-gzip", all, Gzip},
		{"gzip ; Q=0.5 , br;q=0.4", all, Gzip},

		// Identity
		{"", all, Identity},
		{" ,", all, Identity},
		{"identity", all, Identity},
		{"gzip;q=0.5, identity;q=0.8", all, Identity},
		{"gzip;q=0.5, identity;q=0.5", all, Gzip},
		{"gzip;q=0.5, identity;q=0", all, Gzip},
		{"gzip;q=0", all, Identity},

		// "*"
		{"*", all, Brotli},
		{"*;q=0.5", all, Brotli},
		{"*;q=0.5, gzip", all, Gzip},
		{"*;q=0.5, identity", all, Identity},
		{"*, br;q=0", all, Zstd},
		{"identity, *;q=0", all, Identity},
		{"gzip, *;q=0", all, Gzip},

		// Nothing left: 406. Where nothing is available there is nothing to refuse.
		{"identity;q=0", all, NotAcceptable},
		{"*;q=0", all, NotAcceptable},
		{"br, identity;q=0", gz, NotAcceptable},
		{"br, *;q=0", gz, NotAcceptable},
		{"*;q=0", nil, Identity},
		{"gzip", nil, Identity},
		{"gzip", []Coding{Identity}, Identity},
		{"gzip", []Coding{Identity, numCoding, NotAcceptable, Gzip}, Gzip}, // what is no sidecar is passed over

		// Of a coding named twice the first counts
		{"gzip;q=0, gzip", all, Identity},
		{"gzip, gzip;q=0", all, Gzip},
		{"x-gzip;q=0, gzip", all, Identity},

		// Malformed: the file itself
		{"gzip;q=2", all, Identity},
		{"gzip;q=1.001", all, Identity},
		{"gzip;q=1.000", all, Gzip},
		{"gzip;q=0.0000", all, Identity},
		{"br;q=0.0000, gzip", all, Identity},
		{"br;q=0.1x, gzip", all, Identity},
		{"gzip;q=1.", all, Gzip}, // qvalue = "0" [ "." 0*3DIGIT ]
		{"gzip;q=", all, Identity},
		{"gzip;q=.5", all, Identity},
		{"gzip;q=-1", all, Identity},
		{"gzip;q=0,5", all, Identity},
		{"gzip;q=0.5;x", all, Identity},
		{"gzip;", all, Identity},
		{"gzip;level=9", all, Identity},
		{"gzip q=1", all, Identity},
		{"gzip;x=1", all, Identity},
		{"gzip;q:1", all, Identity},
		{"gzip br", all, Identity},
		{"gzip, br zstd", all, Identity},
		{"gzip, br:1", all, Identity},
		{"gzip, br;q=x", all, Identity},
		{"gzip, ;q=1", all, Identity},
		{"gzip, \"br\"", all, Identity},
		{"gzip;q= 1", all, Identity},
		{"gzip;q =1", all, Identity},
	} {
		if got := Negotiate([]byte(c.field), c.avail); got != c.want {
			t.Errorf("%q of %v: %v, want %v", c.field, c.avail, got, c.want)
		}
	}
	if got := Negotiate(nil, all); got != Identity {
		t.Errorf("no field: %v", got)
	}
	r := parseRequest(t, "GET\nAccept-Encoding: gzip;q=0.5\nAccept-Encoding: br;q=0.4")
	if got := Negotiate(r.AcceptEncoding, all); got != Gzip {
		t.Errorf("two lines %q: %v", r.AcceptEncoding, got)
	}
}

var modelCoding = regexp.MustCompile(`^([-!#$%&'*+.^_|~0-9A-Za-z` + "`" + `]+)(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?$`)

// modelNegotiate is Negotiate in the words of RFC 9110 12.5.3.
func modelNegotiate(field string, avail []Coding) Coding {
	weights := map[string]float64{}
	for elem := range strings.SplitSeq(field, ",") {
		elem = strings.Trim(elem, " \t")
		if elem == "" {
			continue
		}
		m := modelCoding.FindStringSubmatch(elem)
		if m == nil {
			return Identity
		}
		q := 1.0
		if m[2] != "" {
			q, _ = strconv.ParseFloat(m[2], 64)
		}
		name := strings.ToLower(m[1])
		if name == "x-gzip" {
			name = "gzip"
		}
		if _, twice := weights[name]; !twice {
			weights[name] = q
		}
	}
	weight := func(name string, unnamed float64) float64 {
		if q, ok := weights[name]; ok {
			return q
		}
		if q, ok := weights["*"]; ok {
			return q
		}
		return unnamed
	}
	best, bestQ := NotAcceptable, 0.0
	for _, c := range avail {
		if q := weight(c.String(), 0); q > bestQ {
			best, bestQ = c, q
		}
	}
	const lowest = 1e-9 // acceptable, after all that is named
	if q := weight("identity", lowest); q > bestQ {
		return Identity
	}
	return best
}

func FuzzAcceptEncoding(f *testing.F) {
	for _, field := range []string{
		"gzip, deflate, br, zstd", "gzip;q=0.5, br;q=0.4", "*;q=0", "identity;q=0", "*;q=0.5, identity", "br;q=0.001,gzip;q=1.",
		"x-gzip;q=0, gzip", "gzip ; Q=1.000 ,", "gzip;q=2", "gzip;q=0,5", "", ",", "*, br;q=0", "identity;q=0, zstd;q=0",
	} {
		for avail := range uint8(8) {
			f.Add(field, avail)
		}
	}
	f.Fuzz(checkNegotiate)
}

// checkNegotiate compares a choice with the model's; which says what is available.
func checkNegotiate(t *testing.T, field string, which uint8) {
	var avail []Coding
	for i, c := range ServerOrder {
		if which>>i&1 != 0 {
			avail = append(avail, c)
		}
	}
	want := Identity
	if len(avail) > 0 {
		want = modelNegotiate(field, avail)
	}
	if got := Negotiate([]byte(field), avail); got != want {
		t.Errorf("%q of %v: %v, want %v", field, avail, got, want)
	}
}

func TestCodingNames(t *testing.T) {
	for _, c := range []struct {
		coding     Coding
		token, ext string
	}{
		{Identity, "identity", ""}, {Brotli, "br", ".br"}, {Zstd, "zstd", ".zst"}, {Gzip, "gzip", ".gz"}, {numCoding, "not acceptable", ""}, {NotAcceptable, "not acceptable", ""},
	} {
		if c.coding.String() != c.token || c.coding.Ext() != c.ext {
			t.Errorf("%d: %s, %q", c.coding, c.coding, c.coding.Ext())
		}
	}
}

func TestSidecarFresh(t *testing.T) {
	for _, c := range []struct {
		source, sidecar int64
		want            bool
	}{{5, 4, false}, {5, 5, true}, {5, 6, true}} {
		if got := SidecarFresh(c.source, c.sidecar); got != c.want {
			t.Errorf("source %d, sidecar %d: %v", c.source, c.sidecar, got)
		}
	}
}
