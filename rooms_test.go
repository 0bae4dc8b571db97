package fserve_test

import (
	"slices"
	"strings"
	"testing"
)

// rooms are the packages of a folder from the bottom up: what a connection or a request
// needs stands below what uses it. The face is above what it is made of; what is made of the
// face is on top.
var rooms = map[string][][]string{
	"engine": {
		{"engine/rate", "engine/peer", "engine/listen", "engine/openfile"},
		{"engine/adapt", "engine/shape"},
		{"engine/outcome", "engine/measure"},
		{"engine/guest", "engine/loop"},
		{"engine"},
	},
	"server": {
		{"server/admit", "server/breaker", "server/httpfile", "server/link", "server/proxyproto", "server/release", "server/wire"},
		{"server/compress", "server/quota"},
		{"server/auth", "server/listing", "server/record", "server/tls"},
		{"server/site"},
		{"server/resolve"},
		{"server/foreign", "server/http1", "server/http2"},
		{"server"},
		{"server/alerts", "server/doctor", "server/nethttp"},
		{"server/config"},
		{"server/admin"},
	},
}

// besides are packages that stand in no room: tests of a folder.
var besides = []string{"server/difftest"}

// A room imports those of lower floors only.
func TestRooms(t *testing.T) {
	for _, p := range packages(t) {
		name, ok := p.name()
		_, folder := place(name)
		floors := rooms[folder]
		if !ok || floors == nil || slices.Contains(besides, name) {
			continue
		}
		from := floorOf(floors, name)
		if from < 0 {
			t.Errorf("%s is in no room: say where it belongs", name)
		}
		for _, path := range p.Imports {
			used, ok := inModule(path)
			if !ok || !strings.HasPrefix(used+"/", folder+"/") {
				continue
			}
			if to := floorOf(floors, used); to >= from {
				t.Errorf("%s imports %s", name, used)
			}
		}
	}
}

func floorOf(floors [][]string, name string) int {
	return slices.IndexFunc(floors, func(rooms []string) bool { return slices.Contains(rooms, name) })
}
