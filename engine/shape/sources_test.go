package shape

import "unsafe"

// sources returns the source that f is the first field of.
func sources(_ []*source, f *Flow) *source { return (*source)(unsafe.Pointer(f)) }
