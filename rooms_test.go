package fserve_test

import (
	"slices"
	"testing"
)

// serverRooms are the packages of server from the bottom up. What a request needs
// stands below what uses it; the face is above what it is made of, and what is made
// of the face is on top.
var serverRooms = [][]string{
	{"server/admit", "server/httpfile", "server/proxyproto", "server/wire"},
	{"server/listing", "server/record", "server/site"},
	{"server/resolve"},
	{"server/foreign", "server/http1"},
	{"server"},
}

// A room imports those of lower floors only, and the face is known to nobody below.
func TestServerRooms(t *testing.T) {
	floor := func(name string) int {
		return slices.IndexFunc(serverRooms, func(rooms []string) bool { return slices.Contains(rooms, name) })
	}
	for _, p := range packages(t) {
		name, ok := p.name()
		from := floor(name)
		if !ok || from < 0 {
			continue
		}
		for _, path := range p.Imports {
			used, ok := inModule(path)
			if _, folder := place(used); !ok || folder != "server" {
				continue
			}
			if to := floor(used); to < 0 || to >= from {
				t.Errorf("%s imports %s", name, used)
			}
		}
	}
}
