// Package httpfile decides how a request for a file is answered. It is pure:
// request fields, facts about the file, a policy and an instant go in; a Plan
// (status, header fields, segments) comes out. It opens nothing, asks no clock
// and knows no HTTP library, so every decision is a line in a table test.
//
// # Use
//
// Once per configuration a Policy is compiled (NewPolicy). Once per version of
// an open file its Facts are made (Policy.MakeFacts), and kept beside the file.
// Per request:
//
//	req.Reset()
//	req.Method = httpfile.ParseMethod(method)
//	… req.AddField(name, value) for each field line, or set the fields …
//	req.Path, err = httpfile.NormalizePath(buf, path)
//	if err != nil {
//		plan.Fail(httpfile.StatusBadRequest, &req, policy)
//	}
//	… policy.Hidden(req.Path)? open the file, or find it in the cache;
//	on failure plan.Fail(httpfile.StatusOfErrno(errno), &req, policy) …
//	if req.Plain() {
//		head = facts.AppendOK(head[:0], date, conn) // then the whole file
//	} else {
//		plan.Decide(&req, facts, now, entropy)
//		head = plan.AppendHead(head[:0], date, conn) // then plan.Segments()
//	}
//
// A resource with sidecars first chooses its representation with Negotiate and
// then goes on with the Facts of that representation.
//
// # Ownership and concurrency
//
// A Request holds views of the request buffer and is valid as long as that buffer
// is. A Plan is reused from request to request by one goroutine at a time. Its
// segments point into memory of the plan or of the package, which must not be changed;
// they are valid until the next call that fills the plan. A Plan refers to the Facts
// that it was made from. Policy and Facts are immutable and may be shared by any number
// of goroutines.
//
// On the path of a file answer (plain, ranges, 304) nothing is allocated once
// the caller's buffers, and for several ranges the plan's, have grown.
package httpfile
