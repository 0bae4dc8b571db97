package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fserve/fserve/engine/shape"
)

// object is a JSON object of which each member is yet to be read. Unlike
// encoding/json it takes names as they are written, and each only once: a body that
// two readers may read differently changes no limit.
type object map[string]json.RawMessage

// readObject reads a request's body, which may have the known members.
func readObject(r *http.Request, known ...string) (object, *problem) {
	data, p := readBody(r)
	if p != nil {
		return nil, p
	}
	return parseObject(data, known)
}

// readBody reads the body of a request, which guard has bounded.
func readBody(r *http.Request) ([]byte, *problem) {
	data, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, problemf(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", tooLarge.Limit)
	case err != nil:
		return nil, problemf(http.StatusBadRequest, "the body broke off")
	}
	return data, nil
}

func parseObject(data []byte, known []string) (object, *problem) {
	if !utf8.Valid(data) {
		return nil, problemf(http.StatusBadRequest, "the body is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, problemf(http.StatusBadRequest, "the body must be a JSON object")
	}
	o := make(object)
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, notJSON(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, notJSON(err)
		}
		switch _, twice := o[name]; {
		case twice:
			return nil, bad(name, "it is there twice")
		case !slices.Contains(known, name):
			return nil, bad(name, "there is no such field; there are %s", strings.Join(known, ", "))
		}
		o[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, notJSON(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, problemf(http.StatusBadRequest, "there is more after the JSON object")
	}
	return o, nil
}

func notJSON(err error) *problem {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return problemf(http.StatusBadRequest, "the body is not JSON: it ends too early")
	}
	return problemf(http.StatusBadRequest, "the body is not JSON: %v", err)
}

// text reads a member that is a string; ok is false if it is not there.
func (o object) text(field string) (s string, ok bool, p *problem) {
	raw, ok := o[field]
	if !ok {
		return "", false, nil
	}
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", true, bad(field, "it must be a string, like %s", examples[field])
	}
	return s, true, nil
}

// hasAny reports whether one of the members is there.
func (o object) hasAny(fields ...string) bool {
	return slices.ContainsFunc(fields, func(f string) bool { _, ok := o[f]; return ok })
}

// examples are values of fields that are strings.
var examples = map[string]string{
	"action": `"promote"`, "weight": `"5%"`, "used": `"1GiB"`, "until": `"2027-01-31T12:00:00Z"`, "user": `"alice"`, "jti": `"f7c1"`, "link": `"7"`, "state": `"open"`, "rate": `"10MiB/s", "80Mbit/s", "unlimited" or "0" (a bare number has no unit: nginx would mean bytes, tc bits)`, "burst": `"1MiB"`,
	"guarantee": `"500KB/s"`, "target": `"5MiB/s"`, "floor": `"1MiB/s"`, "ceiling": `"50MiB/s"`, "ttl": `"1h30m"`, "client": `"3MiB/s"`, "connection": `"1MiB/s"`, "after": `"10MiB"`, "client_id": `"user_123"`,
}

// number reads a member that is a whole number; ok is false if it is not there.
func (o object) number(field string) (n int64, ok bool, p *problem) {
	raw, ok := o[field]
	if !ok {
		return 0, false, nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0, true, bad(field, "it must be a whole number, not %s", shorten(string(raw)))
	}
	return n, true, nil
}

// client reads the member that names a client, which must be there.
func (o object) client() (string, *problem) {
	client, ok, p := o.text("client_id")
	if p == nil && !ok {
		p = bad("client_id", "it is missing")
	}
	if p == nil {
		p = checkName("client_id", client)
	}
	return client, p
}

// shorten bounds a quotation from a request.
func shorten(s string) string {
	const most = 40
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// limitFields are the members of a limit.
var limitFields = []string{"rate", "burst", "weight", "priority", "guarantee", "client", "connection", "after", "ttl"}

// order is a limit that a request asks for.
type order struct {
	limit shape.Limit
	ttl   time.Duration // 0: for ever
}

// maxTTL is the longest time for which a change is made; longer is for ever.
const maxTTL = 10 * 365 * 24 * time.Hour

// readOrder reads a limit for a level.
func readOrder(o object, l shape.Level) (order, *problem) {
	var out order
	if _, ok := o["rate"]; !ok && (l != shape.LevelPath || !o.hasAny("client", "connection")) {
		return out, bad("rate", `it is missing; "unlimited" takes the limit away`)
	}
	for _, part := range []struct {
		field string
		set   func(string) error
	}{
		{"rate", func(s string) (err error) { out.limit.Rate, err = shape.ParseRate(s); return err }},
		{"burst", func(s string) (err error) { out.limit.Burst, err = shape.ParseSize(s); return err }},
		{"guarantee", func(s string) (err error) { out.limit.Guarantee, err = parseGuarantee(s); return err }},
		{"client", func(s string) (err error) { out.limit.Client, err = shape.ParseRate(s); return err }},
		{"connection", func(s string) (err error) { out.limit.Connection, err = shape.ParseRate(s); return err }},
		{"after", func(s string) (err error) { out.limit.After, err = shape.ParseSize(s); return err }},
		{"ttl", func(s string) (err error) { out.ttl, err = parseTTL(s); return err }},
	} {
		s, ok, p := o.text(part.field)
		if p != nil {
			return out, p
		}
		if !ok {
			continue
		}
		if err := part.set(s); err != nil {
			return out, bad(part.field, "%v", err)
		}
	}
	for field, at := range map[string]*int{"weight": &out.limit.Weight, "priority": &out.limit.Priority} {
		n, _, p := o.number(field)
		if p != nil {
			return out, p
		}
		if int64(int32(n)) != n {
			return out, bad(field, "%d is out of range", n)
		}
		*at = int(n)
	}
	if p := takes(l, out.limit); p != nil {
		return out, p
	}
	return out, nil
}

func parseGuarantee(s string) (shape.Rate, error) {
	r, err := shape.ParseRate(s)
	if r == shape.Paused { // nothing is guaranteed
		r = 0
	}
	return r, err
}

func parseTTL(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return 0, errors.New(`it must be a duration like "90s" or "1h30m"`)
	case d <= 0 || d > maxTTL:
		return 0, errors.New("it must be more than nothing and at most ten years")
	}
	return d, nil
}
