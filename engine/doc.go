// Package engine moves files and memory to network connections, shaped by a tree
// of limits and without copying through user memory. It knows no protocol.
//
// # Which to use
//
// A server that exists already, of net/http, gin, echo or stock fasthttp, changes
// one line:
//
//	e, err := engine.New(engine.Config{Limits: &shape.Config{Client: shape.Limit{Rate: 10e6}}})
//	...
//	err = srv.Serve(e.Listener(ln)) // was: srv.Serve(ln)
//
// What there is:
//
//   - [Engine.Listener]: the connections are the server's as before. What it writes is
//     limited, and files that it copies to them (http.ServeContent, http.FileServer,
//     io.Copy, body streams of fasthttp) go by sendfile, under limits too. A framework
//     that hides the connection's ReadFrom (gin does) copies, here as everywhere;
//     examples/gin shows how to mend that. net/http reads the first 512 bytes of a file
//     itself if the head was not flushed before (server/nethttp does): a thread waits for
//     these where they are cold.
//   - [Engine.Send]: one range of a file to one connection, whoever owns it.
//   - [ConnContext] and [SetFlow], or [WithFlow] for Send: whose a response is, which
//     path class it is of, and a rate of its own. [Engine.Limits] changes every limit
//     while responses are under way.
//   - [Config].NewSession: loops of the engine's own, one a core, each with a driver
//     (io_uring or epoll), for servers whose protocol is a [loop.Session]. It is the fastest
//     way, and what package server is made of. What a session works with is in the packages
//     below: [loop] (connections and responses), [openfile] (roots and open files), [measure]
//     (rates that are found). Everything above does without.
//
// # Concurrency
//
// All methods of an Engine are safe for concurrent use. A connection of a Listener is as safe as
// any net.Conn; writers take turns. What belongs to a loop is called on that loop only.
//
// # Partial results
//
// A Send, or a copy of a file to a connection, may end early. The bytes that are reported are
// with the kernel, no more and no less; the error says why the rest is not. A client that
// was promised more must not be left to believe that it has all: close the connection.
//
// # Waiting
//
// No thread waits. Tokens are waited for in a timing wheel, the socket by the poller of the
// runtime (or the loop's driver), the disk by at most 16 threads, which fetch what is not
// in memory in pieces of 2 MiB. A write deadline and the end of a context end each of these waits.
//
// # Kernels
//
//	4.14  what is not in memory is told from what is (preadv2, RWF_NOWAIT)
//	5.6   paths of a Root cannot leave it (openat2); before, symbolic links are not followed
//	6.0   loops on io_uring; before, or where it is forbidden, epoll
//	6.5   residency of whole ranges by one call (cachestat)
//
// # Versions
//
// The module follows semantic versioning. Until 1.0 a minor version may change the API; what
// this package and those below it export is written down in the module's folder api,
// and compared in every test run.
package engine
