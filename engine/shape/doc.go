// Package shape decides when bytes may be sent: a tree of token buckets, shared
// fairly and without waste. It is arithmetic over an instant that the caller
// gives (monotonic nanoseconds); it does no I/O, starts no goroutine, never
// sleeps and asks no clock.
//
// # The tree
//
//	global -> path class -> client (in that class) -> connection
//
// Every node has a bucket and a weight. A grant is charged at all four levels
// at once or not at all, so that over any window w a node passes at most
// rate*w + burst bytes. A client's limit holds over all classes: its nodes
// share one bucket. A zero [Limit] limits nothing.
//
// Under a node that is short of tokens, those that wait share by weight:
// deficit round robin in bytes [DRR], over classes, then clients, then
// connections, so that 64 connections of one client get together what the one
// connection of another gets. Whoever waits for a bucket of its own is parked in
// a timing wheel [Wheel] and holds up nobody. A share that is not used is used by the
// others at once. A client, or a connection of a client, that has not been
// served for a round goes first for one quantum [FQ-CoDel, section 4]: a
// short response does not queue behind long ones. Between path classes,
// a higher priority goes first, and before all priorities a class that has got
// less than its guarantee.
//
// # Use
//
// A [Shaper] is what the event loops of a server share: the configuration, and the
// part of a node's tokens that no loop has leased. Each loop has one
// [Tree], each connection one [Flow]:
//
//	t.Join(f, s.Class(path), client, now)   // a response begins
//	n := t.Take(f, want, now)               // n > 0: send n; 0: f waits
//	t.Refund(f, n-sent, now)                // what the socket did not take
//	t.Rest(f, now)                          // the response is over
//	t.Leave(f, now)                         // the connection is over
//
// and in each turn of the loop, with its wait bounded by [Tree.Due]:
//
//	for f := t.Next(now); f != nil; f = t.Next(now) {
//		... // send f.Granted() bytes, then Take again
//	}
//
// Sharing is between flows that wait. It is therefore best to let a flow that
// Next returns send and call Take again before Next is called again; a loop that drains
// Next first is fair as well as long as it is not late by many grants.
//
// # Grants
//
// A grant is some 20 ms of the flow's share, between 16 KiB and 1 MiB; below
// 96 KiB/s half a second, from 24 KiB down to 1 KiB; never more than a burst in the
// chain. It is all of that or all that is wanted: nobody gets dribbles. Small
// grants are smooth and dear, since a send costs the same whatever its size.
//
// # Several loops
//
// One client may have connections on several loops (SO_REUSEPORT). A node's
// tokens are then accounted in one place, a pool, from which the trees lease a few
// milliseconds' worth. What is out on lease counts against the burst, so that the sum
// stays exact. Trees that want more than there is are served in the order of
// start-time fair queueing [SFQ], weighted by what is backlogged on each; one that
// does not come for its tokens loses its turn after 20 ms.
//
// # References
//
//   - [DRR] M. Shreedhar, G. Varghese: Efficient Fair Queuing Using Deficit Round-Robin, 1996
//   - [FQ-CoDel] RFC 8290, section 4: new and old queues
//   - [SFQ] P. Goyal, H. Vin, H. Cheng: Start-Time Fair Queueing, 1997
//   - [Wheel] G. Varghese, T. Lauck: Hashed and Hierarchical Timing Wheels, 1987
package shape
