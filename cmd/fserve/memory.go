package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/fserve/fserve/server/doctor"
)

const (
	// memoryEvery is how often it is looked whether memory can go back.
	memoryEvery = 4 * time.Second
	// memorySlack is by how much memory must have grown for that to be worth a collection, in bytes.
	memorySlack = 32 << 20
)

// limitMemory makes the collector keep to three quarters of what the process may use, unless
// GOMEMLIMIT says otherwise: the rest is for sockets and pages, which the kernel counts too.
func limitMemory() {
	if most := doctor.Here().Memory(); most > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(most - most/4)
	}
}

// giveMemoryBack returns to the system what a crowd has left, until ctx ends. By itself the
// runtime collects every two minutes where nothing is allocated.
func giveMemoryBack(ctx context.Context) {
	held := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	mapped := func() uint64 {
		metrics.Read(held)
		return held[0].Value.Uint64() - held[1].Value.Uint64()
	}
	least, last := mapped(), uint64(0)
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := mapped()
		if now > least+memorySlack && now <= last+memorySlack/8 { // it has grown, and grows no more
			debug.FreeOSMemory()
			now = mapped()
			least = now
		}
		least, last = min(least, now), now
	}
}
