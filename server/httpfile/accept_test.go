package httpfile

import "testing"

func TestPrefersHTML(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "text/*": false, "text/html": true, "Text/html ; Q=0.3": true, "text/html;q=0": false, "application/xhtml+xml": false,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true, "text/html, */*": true, "text/plain, text/html;q=0.9": false,
		"application/json, text/html;q=0.9": false, "text/html, application/json": true, "text/html;q=0.2, */*;q=0.1": true, "text/html;level=1": true,
	} {
		if got := PrefersHTML([]byte(accept)); got != want {
			t.Errorf("%q: %t, want %t", accept, got, want)
		}
	}
}
