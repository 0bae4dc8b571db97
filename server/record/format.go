package record

// LogFormat is how an AccessLog writes its lines.
type LogFormat uint8

const (
	// LogCombined is the combined log format; %h is the client (see Trust).
	LogCombined LogFormat = iota
	// LogJSON is an object with these fields:
	//
	//	time         when the response ended, RFC 3339 with ms
	//	client       address; "unix:" for an unnamed one on a Unix socket
	//	peer         address and port of the connection, or of its PROXY header
	//	method, target, protocol, status
	//	port         of the listener, if it is one of TCP
	//	bytes        of the body, as many as were sent
	//	host, range, referer, user_agent    of the request, if it has them
	//	ttfb_ms      from the request's head to the first byte of the response
	//	duration_ms  from the request's head to the last byte
	//	sent_by      memory, or how file bytes went: sendfile, splice, copy
	//	held_ms      waited for its turn, by the level of limits that held it:
	//	             global, path, client, connection; only if it waited
	//	outcome      complete, or what ended the response: see engine.End
	LogJSON
)
