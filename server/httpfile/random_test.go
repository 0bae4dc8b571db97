package httpfile

import (
	"flag"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The fuzz targets mutate bytes; these tests put words together, which comes
// nearer to what means something, and compare with the same models.

var seed = flag.Uint64("seed", 1, "seed of the random tests")

// words returns a function that joins up to most random words; "#" stands for a number below 400.
func words(rng *rand.Rand, most int, vocabulary ...string) func() string {
	return func() string {
		var b strings.Builder
		for range rng.IntN(most + 1) {
			w := vocabulary[rng.IntN(len(vocabulary))]
			if w == "#" {
				w = strconv.Itoa(rng.IntN(400))
			}
			b.WriteString(w)
		}
		return b.String()
	}
}

func newRand(t *testing.T) *rand.Rand {
	t.Logf("-seed=%d", *seed)
	return rand.New(rand.NewPCG(*seed, 0))
}

const rounds = 20000

func TestRandomRanges(t *testing.T) {
	rng, check := newRand(t), rangeChecker(t)
	loose := words(rng, 12, "#", "#", "-", "-", ",", ",", " ", "0", "99999999999999999999")
	for range rounds {
		check(t, "bytes="+loose(), uint16(rng.IntN(300)))
	}
	for range rounds / 10 { // many valid ones, some in merging mode from the first overlap, some from the 17th on
		var b strings.Builder
		size := 1 + rng.IntN(2999)
		width := 1 + rng.IntN(60)
		for range 1 + rng.IntN(30) {
			first := rng.IntN(size + 20)
			b.WriteString(strconv.Itoa(first) + "-" + strconv.Itoa(first+rng.IntN(width)) + ",")
		}
		check(t, "bytes="+b.String(), uint16(size))
	}
}

func TestRandomPaths(t *testing.T) {
	rng := newRand(t)
	path := words(rng, 10, "/", "/", "/", "..", ".", "a", "b", "%2e", "%2E", "%2f", "%41", "%", "?", "\\", ".well-known", "ä", "%ff")
	for range rounds {
		checkPath(t, "/"+path())
	}
}

func TestRandomTags(t *testing.T) {
	rng := newRand(t)
	list := words(rng, 8, `"x"`, `W/`, `"y"`, `""`, ",", ",", " ", "*", `"`, "x")
	for range rounds {
		checkTags(t, list())
	}
}

func TestRandomAcceptEncoding(t *testing.T) {
	rng := newRand(t)
	element := words(rng, 1, "gzip", "br", "zstd", "identity", "*", "deflate", "X-GZIP", "")
	weight := words(rng, 1, "", "", ";q=0", ";q=1", "; q=0.5", ";q=0.25", ";q=0.999", ";q=1.5", ";x", ";Q=1.000")
	for range rounds {
		var b strings.Builder
		for range rng.IntN(5) {
			b.WriteString(element() + weight() + ", ")
		}
		checkNegotiate(t, b.String(), uint8(rng.IntN(8)))
	}
}

func TestRandomConditional(t *testing.T) {
	const absent = "\x00"
	rng, check := newRand(t), conditionalChecker(t, absent)
	one := func(v ...string) string {
		if rng.IntN(2) == 0 {
			return absent
		}
		return v[rng.IntN(len(v))]
	}
	tags := []string{testTag, "W/" + testTag, `"y"`, `"y", ` + testTag, `"y", W/` + testTag, "*", "", "x"}
	dates := []string{testDate, olderDate, laterDate, nowDate, "x", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:36 1994", ""}
	ages := []time.Duration{-time.Hour, -1, 0, 2*time.Second - 1, 2 * time.Second, time.Hour, 20 * 365 * 24 * time.Hour}
	for range rounds {
		check(t, one(tags...), one(dates...), one(tags...), one(dates...), one(append(tags, dates...)...),
			rng.IntN(2) == 0, int64(ages[rng.IntN(len(ages))]))
	}
}
