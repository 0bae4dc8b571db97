package auth

import "time"

const (
	// rightFor and wrongFor are how long a verdict is believed. A change of the file ends it at
	// once.
	rightFor = 5 * time.Minute
	wrongFor = 10 * time.Second
	// maxVerdicts bounds those of each kind that are kept.
	maxVerdicts = 4096
)

// Verdicts are what was found about passwords: on an event loop, so that requests of a user
// who is known wait for nobody. They belong to one goroutine. Right and wrong ones are apart,
// so that who guesses drives nobody out.
type Verdicts struct{ right, wrong map[Proof]int64 } // monotonic ns: until when

// Find returns what was found about credentials; known is false if they are to be checked.
func (v *Verdicts) Find(p Proof, now int64) (right, known bool) {
	if until, ok := v.right[p]; ok && now < until {
		return true, true
	}
	until, ok := v.wrong[p]
	return false, ok && now < until
}

// Put keeps a verdict.
func (v *Verdicts) Put(p Proof, right bool, now int64) {
	if right {
		keep(&v.right, p, now, rightFor)
	} else {
		keep(&v.wrong, p, now, wrongFor)
	}
}

func keep(m *map[Proof]int64, p Proof, now int64, d time.Duration) {
	if *m == nil {
		*m = make(map[Proof]int64)
	}
	if len(*m) >= maxVerdicts {
		for q, until := range *m {
			if now >= until {
				delete(*m, q)
			}
		}
		if len(*m) >= maxVerdicts {
			clear(*m)
		}
	}
	(*m)[p] = now + int64(d)
}
