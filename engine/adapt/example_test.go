package adapt_test

import (
	"fmt"
	"time"

	"github.com/fserve/fserve/engine/adapt"
)

// A client whose line carries all that its target lets in, for half a second.
func Example() {
	policy, err := adapt.NewPolicy(adapt.Config{Min: 1 << 20, Max: 50 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := adapt.New(policy)
	var meter adapt.Meter
	sample := adapt.Sample{RTT: 20_000, MinRTT: 20_000, MSS: 1448, AppLimited: true,
		Known: adapt.HasAcked | adapt.HasNotSent | adapt.HasRate}
	const tick = int64(100 * time.Millisecond)
	for now := int64(0); now <= 5*tick; now += tick {
		if delta, ok := meter.Update(&sample, now); ok {
			client.Observe(delta)
		}
		client.Tick(adapt.Usage{Held: tick}, now)
		fmt.Printf("%v: %d MiB/s\n", time.Duration(now), client.Target()>>20)
		sample.BytesAcked += uint64(client.Target() / 10)
		sample.DeliveryRate = uint64(client.Target())
	}
	// Output:
	// 0s: 1 MiB/s
	// 100ms: 2 MiB/s
	// 200ms: 2 MiB/s
	// 300ms: 4 MiB/s
	// 400ms: 4 MiB/s
	// 500ms: 8 MiB/s
}
