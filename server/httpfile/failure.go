package httpfile

import (
	"fmt"
	"strconv"
	"strings"
)

// failurePage renders the page of a failure: it follows the reader's light or dark, and refers
// to nothing else.
func failurePage(code int, reason string) []byte {
	return []byte(strings.NewReplacer("CODE", strconv.Itoa(code), "REASON", reason, "\n", "").Replace(failureHTML))
}

// Types of problems of draft-ietf-httpapi-ratelimit-headers, section 6.
const (
	problemQuota    = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	problemCapacity = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
)

// renderProblem renders a failure as application/problem+json (RFC 9457), with more members.
func renderProblem(code int, kind, more string) []byte {
	return fmt.Appendf(nil, `{"type":%q,"title":%q,"status":%d%s}`+"\n", kind, reasons[code], code, more)
}

const failureHTML = `<!DOCTYPE html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>CODE REASON</title>
<style>
body{font:1rem/1.5 system-ui,sans-serif;min-height:90vh;margin:0;display:grid;place-content:center;text-align:center;color:#222;background:#fff}
h1{font-size:4rem;font-weight:200;line-height:1;margin:0}
p{color:#666;margin:.5rem}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}p{color:#999}}
</style>
<h1>CODE</h1><p>REASON</p></html>
`
