package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/config"
)

// releaseActions are what fserve release does to one.
var releaseActions = []string{"promote", "finish", "pause", "resume", "rollback"}

// releaseCommand is the command that shows and changes the releases of a running server.
func releaseCommand() *cobra.Command {
	var file string
	a := config.Admin{Token: os.Getenv("FSERVE_ADMIN_TOKEN")}
	cmd := &cobra.Command{
		Use: "release status | ACTION NAME", Short: "show and change the releases of a running server",
		Long: "release asks the admin listener of a running server, which --admin or the configuration of --config names. status prints the\n" +
			"releases; promote takes one to its next step, finish to its last; pause leaves it where it is, resume lets it go on; rollback takes\n" +
			"the canary back.",
		Example: "  fserve release status -c /etc/fserve/fserve.yaml\n  fserve release promote web --admin 127.0.0.1:9090",
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := findAdmin(&a, file)
			if err != nil {
				return err
			}
			var body []byte
			method, path := http.MethodGet, "/releases"
			if len(args) == 2 {
				method, path = http.MethodPut, "/releases/"+url.PathEscape(args[1])
				body, _ = json.Marshal(map[string]string{"action": args[0]}) // never fails
			}
			return askAdmin(cmd.OutOrStdout(), a.Listen, token, method, path, body)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration file of the server")
	cmd.Flags().StringVar(&a.Listen, "admin", "", "address of the admin listener, host:port or unix:/path")
	cmd.Flags().StringVar(&a.TokenFile, "admin-token-file", "", "file with the bearer token of the admin listener")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 1 && args[0] == "status" {
			return nil
		}
		for _, a := range releaseActions {
			if len(args) == 2 && args[0] == a {
				return nil
			}
		}
		return errors.New("status, or one of " + strings.Join(releaseActions, ", ") + " and the name of a release")
	}
	return cmd
}

// findAdmin finds the admin listener in a configuration file, unless a is it already, and returns its token.
func findAdmin(a *config.Admin, file string) (token string, err error) {
	if a.Listen == "" {
		flags, set := &config.Flags{}, pflag.NewFlagSet("", pflag.ContinueOnError)
		flags.Register(set)
		if file != "" {
			if err := set.Set("config", file); err != nil {
				return "", &exitError{exitUsage, err}
			}
		}
		c, err := (&config.Sources{Flags: flags, Environ: os.Environ()}).Load()
		if err != nil {
			return "", &exitError{exitConfig, err}
		}
		if *a = c.Admin; a.Listen == "" {
			return "", &exitError{exitConfig, errors.New("the server has no admin listener: --admin")}
		}
	}
	return a.Bearer()
}

// askAdmin prints what an admin listener answers.
func askAdmin(w io.Writer, at, token, method, path string, body []byte) error {
	client := &http.Client{Timeout: 10 * time.Second}
	host := at
	if file, ok := strings.CutPrefix(at, engine.UnixPrefix); ok {
		host = "unix"
		client.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", file)
		}}
	}
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+host+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return &exitError{exitUnavailable, err}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return &exitError{exitUnavailable, err}
	}
	if resp.StatusCode != http.StatusOK {
		var problem struct{ Detail string }
		if json.Unmarshal(answer, &problem) != nil || problem.Detail == "" {
			problem.Detail = strings.TrimSpace(string(answer))
		}
		return &exitError{1, fmt.Errorf("%s: %s", resp.Status, problem.Detail)}
	}
	var text bytes.Buffer
	if err := json.Indent(&text, bytes.TrimSpace(answer), "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, text.String())
	return err
}
