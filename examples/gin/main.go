// Command gin serves downloads by gin, through the engine's listener. It is a module of its
// own, so that gin is none of fserve's dependencies.
//
//	cd examples/gin && go run . -root . -limit 10MiB/s
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
)

func main() {
	root := flag.String("root", ".", "`directory` to serve")
	addr := flag.String("listen", "127.0.0.1:8080", "`address:port`")
	limit := flag.String("limit", "unlimited", "`rate` of each client, as 10MiB/s; 0: there are no limits at all")
	secret := flag.String("secret", "", "`file` with the secret of tokens, without which nobody is answered then")
	stock := flag.Bool("stock", false, "do without the engine, for comparison")
	flag.Parse()
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ln.Addr())
	e, err := newEngine(*limit)
	if err != nil {
		log.Fatal(err)
	}
	if !*stock {
		ln = e.Listener(ln)
	}
	var before []gin.HandlerFunc
	if *secret != "" {
		tiers, err := newTiers(*secret)
		if err != nil {
			log.Fatal(err)
		}
		before = append(before, guard(tiers))
	}
	log.Fatal(newServer(*root, !*stock, before...).Serve(ln))
}

// newEngine returns an engine that limits each client.
func newEngine(limit string) (*engine.Engine, error) {
	if limit == "0" {
		return engine.New(engine.Config{})
	}
	rate, err := shape.ParseRate(limit)
	if err != nil {
		return nil, err
	}
	return engine.New(engine.Config{Limits: &shape.Config{Client: shape.Limit{Rate: rate}}})
}

// fileWriter gives gin's writer the ReadFrom that http.ServeContent looks for. gin
// has none, so that it copies every file through memory, with the engine or without.
type fileWriter struct {
	gin.ResponseWriter
	sent int
}

// ReadFrom implements io.ReaderFrom.
func (w *fileWriter) ReadFrom(r io.Reader) (int64, error) {
	w.WriteHeaderNow()
	under, ok := w.ResponseWriter.(interface{ Unwrap() http.ResponseWriter })
	if !ok {
		return io.Copy(struct{ io.Writer }{w.ResponseWriter}, r)
	}
	n, err := io.Copy(under.Unwrap(), r)
	w.sent += int(n)
	return n, err
}

// Size is what gin's logger shows.
func (w *fileWriter) Size() int { return max(w.ResponseWriter.Size(), 0) + w.sent }

// sendFiles is the middleware that makes c.File and c.FileAttachment send without
// copying. It must stand behind those that change bodies, as compression does.
func sendFiles(c *gin.Context) {
	c.Writer = &fileWriter{ResponseWriter: c.Writer}
	c.Next()
}

// newServer returns a server with the routes of a small download site.
func newServer(root string, zeroCopy bool, before ...gin.HandlerFunc) *http.Server {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	if zeroCopy {
		r.Use(sendFiles)
	}
	r.Use(before...)
	r.GET("/:name", func(c *gin.Context) { c.File(filepath.Join(root, filepath.Base(c.Param("name")))) })
	r.GET("/save/:name", func(c *gin.Context) {
		name := filepath.Base(c.Param("name"))
		c.FileAttachment(filepath.Join(root, name), name)
	})
	// By user: all downloads of one share what a client may have.
	r.GET("/users/:user/:name", func(c *gin.Context) {
		if err := engine.SetFlow(c.Request.Context(), engine.Flow{Client: c.Param("user")}); err != nil {
			c.AbortWithStatus(http.StatusInternalServerError)
			return
		}
		c.File(filepath.Join(root, filepath.Base(c.Param("name"))))
	})
	return &http.Server{Handler: r, ConnContext: engine.ConnContext, ReadHeaderTimeout: 10 * time.Second}
}
