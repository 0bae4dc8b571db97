// Package shape decides when bytes may be sent: a tree of token buckets, shared
// fairly and without waste. It is arithmetic over an instant that the caller
// gives (monotonic nanoseconds). It does no I/O, starts no goroutine, never
// sleeps and asks no clock.
//
// # The tree
//
//	global -> path class -> client (in that class) -> connection
//
// Every node has a bucket and a weight. A grant is charged at all four levels
// at once or not at all, so a node passes at most rate*w + burst bytes in any window
// w. A client's limit holds over all classes: the client has a node in each
// class, and these share one bucket. A zero [Limit] limits nothing.
//
// A class may limit each of its clients and connections besides. Such a client has one more
// node, with a bucket, between its node in the class and its connections; a connection's
// bucket has the lower rate while it sends of the class. Limit.After of a response is free
// of both.
//
// The members of a node that is short of tokens share by weight: deficit round robin
// in bytes [DRR], over classes, then clients, then connections. So 64
// connections of one client get together what the one connection of another client
// gets. A member that waits for its own bucket is parked in a timing wheel [Wheel]
// and holds up no other. A share that is not used goes to the others at once. A
// client, or a connection of a client, that has not been served for a round goes
// first for one quantum [FQ-CoDel, section 4]: a short response does not queue
// behind long ones. Path classes with a higher priority go before the others, and
// a class that has got less than its guarantee goes before all priorities.
//
// # What holds at a node
//
// A node has one table of rates, with a row for each who may set one:
//
//	configured  SetGlobal, SetPath, SetClientDefault, SetConnectionDefault
//	override    SetClient, SetLimit: in place of what is configured
//	cap         SetCaps: a profile of the whole, of clients, of connections
//	found       AdaptClient, AdaptClass: what adaptation has found
//	share       SetShares: the part of this process, among several
//
// The least of them holds. An override is the exception: it replaces what is configured,
// also by a higher rate or none. A cap holds a client's override down, but not the
// limit that one response has of its own. Only the rows configured and override
// say more than a rate: burst, weight, guarantee and priority.
//
// The Shaper says all rows but found, and numbers its changes; the loops bring what
// is found with a number of its own. A loop, and what loops share, takes over what has
// the higher number. [NodeReport] and [Shaper.Explain] name the row that holds.
//
// # Use
//
// A [Shaper] is what the event loops of a server share: the configuration, and the
// tokens that no loop has leased. Each loop has one [Tree], each connection one
// [Flow]:
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
// Flows share while they wait. It is therefore best to let a flow that Next returns
// send and call Take again before the next call of Next. A loop that first calls Next
// until it returns nil is fair as well, as long as it is not late by many grants.
//
// # Grants
//
// A grant is some 20 ms of the flow's share, between 16 KiB and 4 MiB; below
// 96 KiB/s it is half a second, from 24 KiB down to 1 KiB. It is never more than a
// burst in the chain. A flow gets a whole grant, or all that it wants: no dribbles. Small
// grants are smooth and dear, since a send costs the same whatever its size.
//
// # Several loops
//
// One client may have connections on several loops (SO_REUSEPORT). The tokens of a node
// are then accounted in one place, a pool, from which the trees lease a few
// milliseconds' worth. What is out on lease counts against the burst, so the sum
// stays exact. Trees that want more than there is are served in the order of
// start-time fair queueing [SFQ], weighted by what is backlogged on each. A tree that
// does not come for its tokens loses its turn after 20 ms.
//
// # Words
//
//	take, grant     a flow asks for bytes, and may send them
//	charge, spend   a grant is subtracted from the tokens of a node
//	borrow, repay   the same for a guarantee, which may go into debt
//	refund          bytes of a grant that were not sent come back
//	lease           tokens that a pool has lent to a tree; give back ends it
//	settle          a pool is told what a tree has spent of its lease
//	claim, withdraw a tree says to a pool that it waits for tokens, or no longer
//	queued, parked  a member waits for its turn, or for its own tokens
//	held            ns that a response has waited, by the level that was short
//	join, rest, leave  a connection begins a response, ends it, ends itself
//	engaged         a client has had to wait on a loop, and counts there
//	update, apply   a table takes over later rows; a bucket follows the table
//
// # References
//
//   - [DRR] M. Shreedhar, G. Varghese: Efficient Fair Queuing Using Deficit Round-Robin, 1996
//   - [FQ-CoDel] RFC 8290, section 4: new and old queues
//   - [SFQ] P. Goyal, H. Vin, H. Cheng: Start-Time Fair Queueing, 1997
//   - [Wheel] G. Varghese, T. Lauck: Hashed and Hierarchical Timing Wheels, 1987
package shape
