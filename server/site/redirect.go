package site

import (
	"bytes"

	"github.com/fserve/fserve/server/httpfile"
)

// Requested is what a redirect is made of.
type Requested struct {
	Host      []byte // as it was sent
	Encrypted bool
	Path      []byte // normalised
	Query     []byte // nil: none

	name []byte // of the host, by which it is found
	at   int    // the listener, while loops are looked for; see Find
}

func (r *Requested) scheme() string {
	if r.Encrypted {
		return "https"
	}
	return "http"
}

// Redirect appends the URL to which the place redirects a request, and returns the status; 0:
// it does not, or the request is there already.
func (p *Place) Redirect(dst []byte, r *Requested) (url []byte, status int) {
	if p.redirect == nil {
		return dst, 0
	}
	r.name = appendHostName(r.name[:0], r.Host)
	url = p.redirect.append(dst, r)
	if r.isAt(url[len(dst):]) {
		return dst, 0
	}
	return url, p.redirect.status
}

func (d *redirect) append(dst []byte, r *Requested) []byte {
	start := len(dst)
	var at []int
	if d.pattern != nil {
		at = d.pattern.FindSubmatchIndex(r.Path)
	}
	for _, p := range d.parts {
		piece := len(dst)
		switch p.kind {
		case partText:
			dst = append(dst, p.text...)
		case partHost:
			dst = append(dst, r.name...)
		case partScheme:
			dst = append(dst, r.scheme()...)
		case partURI:
			dst = httpfile.AppendLocation(dst, r.Path, r.Query)
		case partPath:
			dst = httpfile.AppendLocation(dst, r.Path, nil)
		case partQuery:
			dst = httpfile.AppendQuery(dst, r.Query)
		case partGroup:
			if i := 2 * p.group; i < len(at) && at[i] >= 0 {
				dst = httpfile.AppendPath(dst, r.Path[at[i]:at[i+1]])
			}
		}
		for piece > start && len(dst) > piece && dst[piece-1] == '/' && dst[piece] == '/' {
			dst = append(dst[:piece], dst[piece+1:]...) // two slashes at the beginning would name a host
		}
	}
	return bytes.TrimRight(dst, "?&")
}

// isAt reports whether a URL is that of the request.
func (r *Requested) isAt(url []byte) bool {
	if scheme, rest, ok := bytes.Cut(url, []byte("://")); ok && url[0] != '/' {
		end := bytes.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		if string(scheme) != r.scheme() || !bytes.EqualFold(r.withoutPort(rest[:end]), r.withoutPort(r.Host)) {
			return false
		}
		url = rest[end:]
	}
	url, _, _ = bytes.Cut(url, []byte("#"))
	var memory [512]byte
	own := httpfile.AppendLocation(memory[:0], r.Path, r.Query)
	return bytes.Equal(url, own) || len(url) == 0 && len(own) == 1
}

// withoutPort returns a host without the port that its scheme has in any case.
func (r *Requested) withoutPort(host []byte) []byte {
	if r.Encrypted {
		return bytes.TrimSuffix(host, []byte(":443"))
	}
	return bytes.TrimSuffix(host, []byte(":80"))
}

// maxHops is how many redirects clients follow, as the Fetch standard has it.
const maxHops = 20

// loop follows redirects from a request, as a client would, and returns the way if it does not
// end here or elsewhere.
func (t *Set) loop(r Requested) (way []string) {
	for range maxHops {
		url, status := t.table(r.at).host(&r.name, r.Host).find(r.Path).Redirect(nil, &r)
		if status == 0 {
			return nil
		}
		way = append(way, string(url))
		next, ok := r.follow(url)
		if next.at = r.at; ok && (next.Encrypted != r.Encrypted || !bytes.Equal(next.Host, r.Host)) {
			next.at, ok = t.listenerOf(&next)
		}
		if !ok || !bytes.Equal(next.Host, r.Host) && t.table(next.at).host(&r.name, next.Host).isDefault {
			return nil
		}
		r = next
	}
	return way
}

// follow returns the request to which a redirect leads; false if that cannot be read.
func (r *Requested) follow(url []byte) (next Requested, ok bool) {
	next = Requested{Host: r.Host, Encrypted: r.Encrypted}
	if scheme, rest, absolute := bytes.Cut(url, []byte("://")); absolute && url[0] != '/' {
		end := bytes.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		next.Encrypted, next.Host, url = string(scheme) == "https", rest[:end], rest[end:]
	}
	url, _, _ = bytes.Cut(url, []byte("#"))
	raw, query, asks := bytes.Cut(url, []byte("?"))
	if asks {
		next.Query = query
	}
	path, err := httpfile.NormalizePath(nil, raw)
	next.Path = path
	return next, err == nil
}
