// Package adapt finds the rate that a client's path carries, from what the kernel
// says of its connections, and moves the target of the client's token bucket to
// it. It is arithmetic over samples and an injected instant: no I/O, no clock, no
// goroutine, nothing allocated.
//
// # Use
//
// A Policy is made once of a Config. Each connection has a Meter, each client (or
// path class) a Controller, which is a plain value. Four to ten times a second,
// for each busy client:
//
//	for each of its connections {
//		… read TCP_INFO into a Sample …
//		if delta, ok := conn.meter.Update(&sample, now); ok {
//			client.controller.Observe(delta)
//		}
//	}
//	event := client.controller.Tick(adapt.Usage{Held: held}, now)
//	… give client.controller.Target() to the client's bucket, and
//	PacingRate(n) to its connections, if they have changed …
//
// The bucket's grants should be paced: a grant of 20 ms that leaves at once overflows
// a queue that holds less, however low the target is. Connections within one machine
// have none.
//
// # Two loops
//
// The fast loop answers congestion within a round-trip: loss beyond what the line
// loses anyhow halves what really flowed, three rounds with ECN marks in a row
// leave 0.3 of it. Then the target rises linearly to a little below the rate
// at which it was lost. Loss that a lower rate does not mend is the line's own; it
// is learned and no longer answered. A cut for repetitions that turn out to have
// been in vain (DSACK, RFC 2883) is taken back, as in RFC 4015.
//
// The slow loop looks at whole seconds. If the target is the limit, which is seen by
// connections that wait for tokens, and nothing is lost, it raises by at most
// 5 %. A raise is judged by what comes of it: if less arrives than was let in
// while a queue grows, or more is lost, it is taken back. If the line is the
// limit, the target follows down to what the line carries. If the reader is, which is
// seen by the receive window, the target stays.
//
// # The balance of raising and lowering
//
// Raising by a part u every second and lowering by d every T seconds moves the
// logarithm of the target, where both happen all the time, by
//
//	ln(1+u) + ln(1-d)/T
//
// a second. With u = 0.05, d = 0.03 and T = 1 that is 0.0488 - 0.0305 > 0: the target
// drifts up by 1.8 % a second. It is negative for T < 0.0305/0.0488 = 0.624 s. So
// the lowering side runs every 0.5 s: 0.0488 - 0.0609 = -0.012. So that this
// in turn does not drift down, the two sides are apart: there is a dead band (from
// what the line carries to 5 % above nothing is done), the lowering side stops at
// what was measured, and after each step both hold off for a round-trip. What
// is left is a walk whose steps up are undone when they fail: its mean lies
// between the last rate that was carried and one step above. NewPolicy refuses
// parameters for which the sum is not negative.
//
// Near the rate at which the line was last found to end, steps are a quarter as large,
// and after raises that failed the next one waits up to four seconds. Two full
// raises in a row that were carried say that the line has grown: linear probing begins.
//
// # Sources
//
// The soft threshold and linear probing are those of RFC 5681, that loss of 2 % may be
// chance is BBRv2's (draft-cardwell-iccrg-bbr-congestion-control), delivery rates
// and their app-limited mark are those of draft-cheng-iccrg-delivery-rate-estimation.
package adapt
