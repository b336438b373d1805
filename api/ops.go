package api

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cairn-p2p/cairn/node"
)

// maxScrapes bounds the scrapes under way: a scrape looks at every topic.
const maxScrapes = 2

// Operator is a Service that says how its node does. Its methods are safe for
// concurrent use.
type Operator interface {
	// Gatherer returns the node's metrics.
	Gatherer() prometheus.Gatherer
	// Checks returns what the node needs in order to serve.
	Checks() []node.Check
}

// addOps adds to mux what operators ask for. All of it is plain text.
func (s *Server) addOps(mux *http.ServeMux) {
	mux.HandleFunc("GET /livez", live)
	mux.HandleFunc("GET /readyz", s.ready)
	if o, ok := s.Service.(Operator); ok {
		mux.Handle("GET /metrics", promhttp.HandlerFor(o.Gatherer(), promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}))
	}
	if s.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
}

// live answers that the process serves. It depends on nothing else: whoever
// restarts what is not alive must not restart a node that is only alone, behind
// or out of disk.
func live(w http.ResponseWriter, _ *http.Request) { answerText(w, http.StatusOK, "ok\n") }

// ready answers whether the node should be sent work: 200, or 503 with the
// checks that failed. With the query parameter verbose it lists all checks.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	verbose, failed := r.URL.Query().Has("verbose"), false
	var text strings.Builder
	for _, c := range s.checks() {
		switch {
		case c.Err != nil:
			failed = true
			fmt.Fprintf(&text, "%s: failed: %s\n", c.Name, oneLine(c.Err))
		case verbose:
			fmt.Fprintf(&text, "%s: ok\n", c.Name)
		}
	}
	if failed {
		answerText(w, http.StatusServiceUnavailable, text.String()+"not ready\n")
		return
	}
	answerText(w, http.StatusOK, text.String()+"ready\n")
}

// checks returns the node's checks, after the server's own.
func (s *Server) checks() []node.Check {
	var stopping error
	if s.draining.Load() {
		stopping = errStopping
	}
	checks := []node.Check{{Name: "serving", Err: stopping}}
	if o, ok := s.Service.(Operator); ok {
		checks = append(checks, o.Checks()...)
	}
	return checks
}

// oneLine returns the text of err, which joined errors spread over several
// lines, on one.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func answerText(w http.ResponseWriter, code int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	w.Write([]byte(text)) //nolint:errcheck // whoever asked has gone
}
