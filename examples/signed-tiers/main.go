// Command signed-tiers sells speed: a link says who may have a file, how fast and until when,
// and is signed, so that nobody can write a better one. Users share their rate over
// all their connections.
//
//	go run ./examples/signed-tiers -root . -key secret -sign alice:paid:/README.md
//	go run ./examples/signed-tiers -root . -key secret
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/nethttp"
)

// tiers are the rates that can be bought.
var tiers = map[string]shape.Limit{
	"free": {Rate: 500e3, Weight: 1},
	"paid": {Rate: 20e6, Weight: 10}, // and where everybody wants more than there is, ten times as much
}

func main() {
	root := flag.String("root", ".", "`directory` to serve")
	addr := flag.String("listen", "127.0.0.1:8080", "`address:port`")
	key := flag.String("key", "", "secret `key` of the links")
	sign := flag.String("sign", "", "print a link for `user:tier:/path` and end")
	flag.Parse()
	s, err := newShop(*root, []byte(*key))
	if err != nil {
		log.Fatal(err)
	}
	if *sign != "" {
		part := strings.SplitN(*sign, ":", 3)
		if len(part) != 3 {
			log.Fatal("-sign wants user:tier:/path")
		}
		fmt.Println("http://" + *addr + s.link(part[0], part[1], part[2], time.Now().Add(time.Hour)))
		return
	}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(s.server().Serve(s.engine.Listener(ln)))
}

// shop serves signed links.
type shop struct {
	key    []byte
	engine *engine.Engine
	files  *nethttp.Handler
}

func newShop(root string, key []byte) (s *shop, err error) {
	if len(key) == 0 {
		return nil, fmt.Errorf("a key is needed")
	}
	s = &shop{key: key}
	if s.files, err = nethttp.New(server.Config{Site: server.Site{Root: root}}); err != nil {
		return nil, err
	}
	if s.engine, err = engine.New(engine.Config{Limits: &shape.Config{}}); err != nil {
		_ = s.files.Close() // the other error says more
		return nil, err
	}
	return s, nil
}

// server returns a server whose handlers can say whose a response is.
func (s *shop) server() *http.Server {
	return &http.Server{Handler: s, ConnContext: engine.ConnContext, ReadHeaderTimeout: 10 * time.Second}
}

// link returns the reference by which a user gets a file.
func (s *shop) link(user, tier, path string, until time.Time) string {
	q := url.Values{"user": {user}, "tier": {tier}, "until": {strconv.FormatInt(until.Unix(), 10)}}
	q.Set("sig", s.signature(path, q))
	return (&url.URL{Path: path, RawQuery: q.Encode()}).String()
}

// signature covers everything that a link says, each part apart from the next.
func (s *shop) signature(path string, q url.Values) string {
	m := hmac.New(sha256.New, s.key)
	fmt.Fprintf(m, "%q %q %q %q", path, q.Get("user"), q.Get("tier"), q.Get("until"))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// ServeHTTP implements http.Handler.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, known := tiers[q.Get("tier")]
	until, err := strconv.ParseInt(q.Get("until"), 10, 64)
	if !known || err != nil || !hmac.Equal([]byte(q.Get("sig")), []byte(s.signature(r.URL.Path, q))) {
		http.Error(w, "not a link of ours", http.StatusForbidden)
		return
	}
	if time.Now().Unix() >= until {
		http.Error(w, "the link has expired", http.StatusGone)
		return
	}
	if err := s.admit(r, q.Get("user"), limit); err != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	s.files.ServeHTTP(w, r)
}

// admit limits the user, and says that the response is the user's.
func (s *shop) admit(r *http.Request, user string, limit shape.Limit) error {
	if _, _, err := s.engine.Limits().SetClient(shape.ClientID(user), limit, 0); err != nil {
		return err
	}
	return engine.SetFlow(r.Context(), engine.Flow{Client: user, Path: r.URL.Path})
}
