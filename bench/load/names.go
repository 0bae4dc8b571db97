package load

const (
	nameDigits = 6
	maxFiles   = 1_000_000
)

// Name returns the i-th name of many that begin with prefix, all of one length.
func Name(prefix string, i int) string {
	var digits [nameDigits]byte
	putName(digits[:], uint32(i))
	return prefix + string(digits[:])
}

func putName(digits []byte, i uint32) {
	for k := nameDigits - 1; k >= 0; k-- {
		digits[k] = '0' + byte(i%10)
		i /= 10
	}
}
