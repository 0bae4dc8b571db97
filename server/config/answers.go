package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Redirect is where requests are sent. In a file it is a line, or a mapping of the keys below.
type Redirect struct {
	// To is the URL.
	To string `key:"to" required:"yes"`
	// Status is 301, 302, 303, 307 or 308. Default: 302.
	Status int `key:"status"`
}

// Set reads URL or STATUS URL.
func (r *Redirect) Set(s string) error {
	status, url := statusBefore(s)
	*r = Redirect{url, status}
	return nil
}

func (r Redirect) String() string { return joined(r.Status, "", r.To) }

// Respond is an answer without a file. In a file it is a line, or a mapping of the keys below.
type Respond struct {
	// Status is 200, 204, or that of a failure. Default: 200.
	Status int `key:"status"`
	// Body is the content. Default: none.
	Body string `key:"body"`
	// Type is the media type of the body. Default: text/plain.
	Type string `key:"type"`
}

// Set reads STATUS or STATUS BODY.
func (r *Respond) Set(s string) error {
	status, body := statusBefore(s)
	if status == 0 && s != "" {
		return fmt.Errorf("%q is not a status, with a body or without", s)
	}
	*r = Respond{Status: status, Body: body}
	return nil
}

func (r Respond) String() string {
	if r == (Respond{}) {
		return ""
	}
	return strings.TrimRight(fmt.Sprintf("%d %s %s", r.Status, r.Type, r.Body), " ")
}

// ErrorPage is the body of failures. In a file it is a path, or a mapping of the keys below.
type ErrorPage struct {
	// Page is the path of the file below the root.
	Page string `key:"page" required:"yes"`
	// Status replaces that of the failure. Default: none, it stays.
	Status int `key:"status"`
}

// Set reads /PATH or =STATUS /PATH.
func (p *ErrorPage) Set(s string) error {
	*p = ErrorPage{Page: s}
	if rest, ok := strings.CutPrefix(s, "="); ok {
		p.Status, p.Page = statusBefore(rest)
	}
	return nil
}

func (p ErrorPage) String() string { return joined(p.Status, "=", p.Page) }

// statusBefore cuts a status off that a text begins with; 0: it begins with none.
func statusBefore(s string) (status int, rest string) {
	word, rest, _ := strings.Cut(s, " ")
	status, err := strconv.Atoi(word)
	if err != nil || len(word) != 3 {
		return 0, s
	}
	return status, strings.TrimLeft(rest, " ")
}

// joined is what statusBefore cuts, with a sign before it.
func joined(status int, sign, rest string) string {
	if status == 0 {
		return rest
	}
	return sign + strconv.Itoa(status) + " " + rest
}
