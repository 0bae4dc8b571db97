package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fserve/fserve/engine/shape"
)

func TestTiers(t *testing.T) {
	dir, secret := t.TempDir(), []byte(strings.Repeat("s", 32))
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	for name, text := range map[string][]byte{"f.bin": content, "secret": secret} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tiers, err := newTiers(filepath.Join(dir, "secret"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := newEngine("unlimited")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, ended := newServer(dir, true, guard(tiers)), make(chan error, 1)
	go func() { ended <- srv.Serve(e.Listener(ln)) }()
	get := func(user, tier string) (int, []byte) {
		req, _ := http.NewRequest(http.MethodGet, "http://"+ln.Addr().String()+"/f.bin", http.NoBody)
		if user != "" {
			token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
				"iss": "https://id.example.com/", "aud": "downloads", "sub": user, "tier": tier, "exp": time.Now().Add(time.Hour).Unix(),
			}).SignedString(secret)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode, body
	}
	for user, tier := range map[string]string{"ann": "free", "bob": "paid", "eve": "gold"} { // nobody sells gold: it is the lowest
		if status, body := get(user, tier); status != http.StatusOK || !bytes.Equal(body, content) {
			t.Errorf("%s: %d, %d bytes", user, status, len(body))
		}
	}
	if status, body := get("", ""); status != http.StatusUnauthorized || bytes.Contains(body, content) {
		t.Errorf("without a token: %d, %d bytes", status, len(body))
	}
	report, _ := e.LimitsReport(10)
	rates := map[string]shape.Rate{}
	for _, c := range report.Clients {
		rates[c.Name] = c.Limit
	}
	if rates["ann"] != 2e6 || rates["bob"] != 20e6 || rates["eve"] != 2e6 {
		t.Errorf("rates: %v", rates)
	}
	srv.Close()
	if err := <-ended; err != http.ErrServerClosed {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := tiers.Close(); err != nil {
		t.Error(err)
	}
}
