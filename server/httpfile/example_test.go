package httpfile_test

import (
	"fmt"
	"strings"

	"github.com/fserve/fserve/server/httpfile"
)

// A download that was broken off goes on: the file is still the version that
// the client has the start of.
func Example() {
	policy, err := httpfile.NewPolicy(httpfile.Config{
		Server:       "fserve",
		CacheControl: []httpfile.Rule{{Match: "/iso/", Value: "max-age=3600"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	path, err := httpfile.NormalizePath(nil, []byte("/iso/./disk.iso"))
	if err != nil {
		fmt.Println(err)
		return
	}
	facts := policy.MakeFacts(httpfile.File{Path: string(path), Size: 1000, MtimeNs: 784111777e9})

	req := httpfile.Request{Method: httpfile.MethodGet, Path: path}
	req.AddField([]byte("Range"), []byte("bytes=600-"))
	req.AddField([]byte("If-Range"), []byte(facts.ETag))

	const now = 784115377e9
	var plan httpfile.Plan
	plan.Decide(&req, facts, now, httpfile.Entropy{})
	head := plan.AppendHead(nil, httpfile.AppendDate(nil, now/1e9), req.Conn(true))
	fmt.Print(strings.ReplaceAll(string(head), "\r\n", "\n"))
	for _, s := range plan.Segments() {
		fmt.Println(s.N, "bytes from", s.Off)
	}
	// Output:
	// HTTP/1.1 206 Partial Content
	// Date: Sun, 06 Nov 1994 09:49:37 GMT
	// Server: fserve
	// Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT
	// ETag: "ae1b981bc490a00-3e8"
	// Cache-Control: max-age=3600
	// Accept-Ranges: bytes
	// X-Content-Type-Options: nosniff
	// Content-Type: application/x-iso9660-image
	// Content-Range: bytes 600-999/1000
	// Content-Length: 400
	//
	// 400 bytes from 600
}
