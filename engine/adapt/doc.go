// Package adapt finds the rate that a client's path carries, from what the kernel
// says of its connections, and moves the target of the client's token bucket
// there. It is arithmetic over samples and an instant that the caller gives: it does no
// I/O, asks no clock, starts no goroutine and allocates nothing.
//
// # Use
//
// A [Policy] is a [Config] that has been checked. Each connection has a [Meter], each
// client (or path class) a [Controller], which is a plain value. Four to ten times a
// second, the caller does for each busy client:
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
// Connections should be paced: a grant of 20 ms that leaves at once overflows a queue
// that holds less, however low the target is. Connections within one machine have no
// such queue.
//
// # Two loops
//
// The fast loop answers congestion within a round-trip. More loss than the line has
// anyhow cuts the target to half of what really flowed; three rounds in a row with ECN
// marks cut it to 0.3 of that. Then the target rises linearly to a little below the
// rate at which the loss began. Loss that a lower rate does not mend is the line's own:
// the loop learns it and no longer answers it. It takes a cut back if the
// retransmissions that it answered turn out to have been in vain (DSACK, RFC 2883), as in
// RFC 4015.
//
// The slow loop looks at whole seconds. If the target is the limit, which shows in
// connections that wait for tokens, and nothing is lost, the loop raises the target by
// at most 5 %. It takes a raise back if a queue grows while less arrives than
// was let in, or if more is lost. If the line is the limit, the target follows
// down to what the line carries. If the reader is the limit, which shows in the receive
// window, the target stays.
//
// # The balance of raising and lowering
//
// If the loop always raised by a part u every second and lowered by d every T seconds, the
// logarithm of the target would move by
//
//	ln(1+u) + ln(1-d)/T
//
// a second. With u = 0.05, d = 0.03 and T = 1 that is 0.0488 - 0.0305 > 0: the target
// drifts up by 1.8 % a second. It is negative for T < 0.0305/0.0488 = 0.624 s. So
// the lowering side runs every 0.5 s: 0.0488 - 0.0609 = -0.012. To keep this in
// turn from drifting down, the two sides are apart: within a dead band, from what the
// line carries to 5 % above, the loop does nothing; the lowering side stops at what was
// measured; after each step both sides hold off for a round-trip. What is left is a
// walk whose steps up are undone when they fail. Its mean lies between the last rate
// that was carried and one step above. NewPolicy refuses parameters for which the sum
// is not negative.
//
// Near the rate at which the line was last found to end, steps are a quarter as large.
// After raises that failed the next one waits up to four seconds. After two full raises in
// a row that were carried the line must have grown, and linear probing begins.
//
// # Sources
//
// The soft threshold and linear probing are from RFC 5681. The loss of 2 % that may be
// chance is from BBRv2 (draft-cardwell-iccrg-bbr-congestion-control). Delivery rates and
// their app-limited mark are from draft-cheng-iccrg-delivery-rate-estimation.
package adapt
