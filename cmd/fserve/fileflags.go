package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
)

// fileOptions are the flags that say how files are answered.
type fileOptions struct {
	precompressed, listing, dotfiles bool

	symlinks      choice[engine.Symlinks]
	serverName    string
	downloadParam string

	index, errorPages, cacheControl, attachment, types, headers list
}

// list is a flag that can be given more than once. In a variable, where it can
// not, each line is one.
type list []string

func (l *list) String() string { return strings.Join(*l, "\n") }
func (l *list) Type() string   { return "string" }

func (l *list) Set(s string) error {
	if s == "" { // for the check of what it is part of
		*l = append(*l, s)
	}
	for line := range strings.Lines(s) {
		*l = append(*l, strings.TrimRight(line, "\r\n"))
	}
	return nil
}

func (o *fileOptions) register(f *pflag.FlagSet) {
	o.symlinks = choice[engine.Symlinks]{names: []string{"inside", "follow", "deny"},
		values: []engine.Symlinks{engine.SymlinksInside, engine.SymlinksFollow, engine.SymlinksDeny}}
	f.BoolVar(&o.precompressed, "precompressed", true, "send f.br, f.zst or f.gz beside f to clients that accept it")
	f.BoolVar(&o.listing, "listing", false, "list directories without an index, as HTML or JSON")
	f.Var(&o.index, "index", "name of an index file (default index.html); repeatable")
	f.Var(&o.symlinks, "symlinks", "symbolic links that are followed: inside (the root), follow (all) or deny (none)")
	f.BoolVar(&o.dotfiles, "dotfiles", false, "serve names that begin with a dot")
	f.Var(&o.errorPages, "error-page", "STATUS=/PATH: file below the root that is the body of failures; repeatable")
	f.Var(&o.cacheControl, "cache-control", "PATTERN=VALUE: Cache-Control of files that match, like '/assets/=max-age=3600' or '*.html=no-cache'; repeatable")
	f.Var(&o.attachment, "attachment", "PATTERN: files that match are for saving, not for showing; repeatable")
	f.StringVar(&o.downloadParam, "download-param", "", "name of a query parameter that makes a file an attachment")
	f.Var(&o.types, "mime", "EXT=TYPE: media type of an extension; repeatable")
	f.Var(&o.headers, "header", "PATTERN=NAME: VALUE: field added to responses for paths that match; repeatable")
	f.StringVar(&o.serverName, "server-name", "", "value of the Server field (default: it is not sent)")
}

// apply puts the flags into cfg. Its errors are of form; whether a value makes
// sense is for server.New to say.
func (o *fileOptions) apply(cfg *server.Config) (err error) {
	cfg.Precompressed, cfg.Listing = o.precompressed, o.listing
	cfg.Symlinks, cfg.Index = o.symlinks.value(), o.index
	cfg.Files = httpfile.Config{Server: o.serverName, DownloadParam: o.downloadParam, Dotfiles: o.dotfiles}
	for _, pattern := range o.attachment {
		cfg.Files.Disposition = append(cfg.Files.Disposition, httpfile.Rule{Match: pattern, Value: "attachment"})
	}
	for _, v := range o.cacheControl {
		pattern, value, err := pair("cache-control", v, "PATTERN=VALUE")
		if err != nil {
			return err
		}
		cfg.Files.CacheControl = append(cfg.Files.CacheControl, httpfile.Rule{Match: pattern, Value: value})
	}
	if cfg.Headers, err = headerRules(o.headers); err != nil {
		return err
	}
	if cfg.Files.ContentTypes, err = contentTypes(o.types); err != nil {
		return err
	}
	cfg.ErrorPages, err = errorPages(o.errorPages)
	return err
}

func headerRules(values []string) (rules []server.HeaderRule, err error) {
	for _, v := range values {
		pattern, field, err := pair("header", v, "PATTERN=NAME: VALUE")
		if err != nil {
			return nil, err
		}
		name, value, ok := strings.Cut(field, ":")
		if !ok {
			return nil, malformed("header", v, "PATTERN=NAME: VALUE")
		}
		rules = append(rules, server.HeaderRule{Match: pattern, Name: name, Value: strings.Trim(value, " \t")})
	}
	return rules, nil
}

func contentTypes(values []string) (map[string]string, error) {
	types := make(map[string]string, len(values))
	for _, v := range values {
		ext, typ, err := pair("mime", v, "EXT=TYPE")
		if err != nil {
			return nil, err
		}
		if _, twice := types[ext]; twice {
			return nil, &exitError{exitUsage, fmt.Errorf("--mime %q: given twice", ext)}
		}
		types[ext] = typ
	}
	return types, nil
}

func errorPages(values []string) (map[int]string, error) {
	pages := make(map[int]string, len(values))
	for _, v := range values {
		code, path, err := pair("error-page", v, "STATUS=/PATH")
		if err != nil {
			return nil, err
		}
		status, err := strconv.Atoi(code)
		if err != nil {
			return nil, malformed("error-page", v, "STATUS=/PATH")
		}
		if _, twice := pages[status]; twice {
			return nil, &exitError{exitUsage, fmt.Errorf("--error-page %d: given twice", status)}
		}
		pages[status] = path
	}
	return pages, nil
}

// pair cuts a value at its first equals sign; neither side may be empty.
func pair(flag, v, form string) (left, right string, err error) {
	left, right, ok := strings.Cut(v, "=")
	if !ok || left == "" || right == "" {
		return "", "", malformed(flag, v, form)
	}
	return left, right, nil
}

func malformed(flag, v, form string) error {
	return &exitError{exitUsage, fmt.Errorf("--%s %q: not %s", flag, v, form)}
}
