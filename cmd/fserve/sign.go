package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fserve/fserve/engine/rate"
	"github.com/fserve/fserve/server/link"
)

// signing is what the flags of sign say.
type signing struct {
	key, param, rate string
	bytes            rate.Size
	lasts, after     time.Duration
	networks         []string
	anyHost          bool
	policy           link.Policy
}

// signCommand is the command that makes signed links.
func signCommand() *cobra.Command {
	s := &signing{}
	cmd := &cobra.Command{
		Use: "sign --key NAME=FILE URL...", Short: "make signed links",
		Long: "sign prints each URL with a parameter that lets its bearer get it, as require: link asks for. The path is that of a file, or\n" +
			"with a slash at its end of all that is below. The key is one of identity.links.keys.",
		Example: "  fserve sign --key k1=/etc/fserve/k1 --for 24h https://dl.example.com/releases/f.iso\n" +
			"  fserve sign --key k1=/etc/fserve/k1 --for 168h --user alice --rate 5MiB/s https://dl.example.com/releases/",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				signed, err := s.sign(arg, time.Now())
				if err != nil {
					return &exitError{exitUsage, fmt.Errorf("%s: %w", arg, err)}
				}
				fmt.Fprintln(cmd.OutOrStdout(), signed)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.key, "key", "", "NAME=FILE: the key that signs (required)")
	f.StringVar(&s.param, "param", "fs", "name of the parameter, as identity.links.param has it")
	f.DurationVar(&s.lasts, "for", time.Hour, "how long the link is good")
	f.DurationVar(&s.after, "after", 0, "how long it is not good yet")
	f.BoolVar(&s.anyHost, "any-host", false, "let the link count for all hosts that have the key, and not for that of the URL alone")
	f.StringSliceVar(&s.networks, "network", nil, "network or address of the clients; repeatable")
	f.StringVar(&s.policy.User, "user", "", "whom downloads are counted by")
	f.StringVar(&s.policy.ID, "id", "", "name of the link, for logs; without a user downloads are counted by it")
	f.StringVar(&s.rate, "rate", "", "rate of the user, like 5MiB/s")
	f.Func("bytes", "how many bytes all who use the link may have together, like 5GiB; needs --id", s.bytes.Set)
	f.IntVar(&s.policy.Connections, "connections", 0, "downloads that the user may have at a time")
	f.StringVar(&s.policy.Tier, "tier", "", "tier of the user")
	f.StringVar(&s.policy.FileName, "file-name", "", "name under which clients save the file")
	return cmd
}

// sign returns a URL with its link.
func (s *signing) sign(text string, now time.Time) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", err
	}
	key, err := s.readKey()
	if err != nil {
		return "", err
	}
	if _, n := link.Find([]byte(u.RawQuery), s.param); n > 0 {
		return "", fmt.Errorf("it has a link already: the parameter %s", s.param)
	}
	if u.Host == "" && !s.anyHost {
		return "", errors.New("it has no host: --any-host lets the link count for all")
	}
	p := s.policy
	p.Bytes = int64(s.bytes)
	p.Path, p.Expires = u.Path, now.Add(s.lasts)
	if !s.anyHost {
		p.Host = u.Hostname()
		if strings.Contains(p.Host, ":") {
			p.Host = "[" + p.Host + "]"
		}
	}
	if s.after > 0 {
		p.NotBefore = now.Add(s.after)
	}
	for _, n := range s.networks {
		prefix, err := netip.ParsePrefix(n)
		if a, addrErr := netip.ParseAddr(n); addrErr == nil {
			prefix, err = a.Prefix(a.BitLen())
		}
		if err != nil {
			return "", err
		}
		p.Networks = append(p.Networks, prefix)
	}
	if s.rate != "" {
		r, err := rate.Parse(s.rate)
		if err != nil {
			return "", err
		}
		p.Rate = int64(r)
	}
	value, err := key.Sign(&p)
	if err != nil {
		return "", err
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += s.param + "=" + value
	return u.String(), nil
}

func (s *signing) readKey() (*link.Key, error) {
	name, file, ok := strings.Cut(s.key, "=")
	if !ok {
		return nil, errors.New("--key NAME=FILE is required")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return &link.Key{ID: name, Secret: []byte(strings.TrimSpace(string(b)))}, nil
}
