package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// operated is a fake that is an Operator.
type operated struct {
	fake
	checks []node.Check
}

func (o *operated) Gatherer() prometheus.Gatherer { return prometheus.NewRegistry() }
func (o *operated) Checks() []node.Check          { return o.checks }

// openServer serves s on a free port and returns what a GET of a path answers.
func openServer(t *testing.T, s *Server) (get func(path string, header ...string) (code int, text string), stop func()) {
	t.Helper()
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, stop = serveServer(t, l, s)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return func(path string, header ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(header) == 2 {
			req.Header.Set(header[0], header[1])
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close() //nolint:errcheck // it is read
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}, stop
}

func openNode(t *testing.T, cfg node.Config) *node.Node {
	t.Helper()
	cfg.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
	n, err := node.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close node: %v", err)
		}
	})
	return n
}

// answers fails the test unless a GET answers with the code and the text.
func answers(t *testing.T, get func(string, ...string) (int, string), path string, code int, text string) {
	t.Helper()
	if c, s := get(path); c != code || s != text {
		t.Errorf("%s answers %d %q, want %d %q", path, c, s, code, text)
	}
}

// TestHealth shows both answers for a node in every state: only draining and a
// failed check make it unready, and nothing makes it dead.
func TestHealth(t *testing.T) {
	full := openNode(t, node.Config{Dir: t.TempDir(), MinFree: 1 << 60})
	stopped := openNode(t, node.Config{})
	if err := stopped.Close(); err != nil {
		t.Fatal(err)
	}
	alone := &Server{Service: NewLocal(openNode(t, node.Config{}), "v0")}
	for _, test := range []struct {
		name    string
		server  *Server
		ready   bool
		verbose []string // parts of the answer
	}{
		{"alone", alone, true, []string{"serving: ok\nstore: ok\ndisk: ok\nlisteners: ok\nnode: ok\nready\n"}},
		{"disk full", &Server{Service: NewLocal(full, "v0")}, false, []string{"store: ok\n", "disk: failed: disk is below its minimum", "\nnot ready\n"}},
		{"closed node", &Server{Service: NewLocal(stopped, "v0")}, false, []string{"store: failed: closed\n", "node: failed: closed\n"}},
		{"several errors", &Server{Service: &operated{checks: []node.Check{{Name: "a", Err: errors.Join(errors.New("x"), errors.New("y"))}}}}, false, []string{"serving: ok\na: failed: x; y\nnot ready\n"}},
		{"no operator", &Server{Service: &fake{}}, true, []string{"serving: ok\nready\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			get, _ := openServer(t, test.server)
			answers(t, get, "/livez", http.StatusOK, "ok\n")
			want := http.StatusServiceUnavailable
			if test.ready {
				want = http.StatusOK
				answers(t, get, "/readyz", want, "ready\n")
			}
			code, text := get("/readyz?verbose")
			if code != want {
				t.Errorf("/readyz answers %d, want %d", code, want)
			}
			for _, part := range test.verbose {
				if !strings.Contains(text, part) {
					t.Errorf("/readyz?verbose answers %q, which has no %q", text, part)
				}
			}
			if code, brief := get("/readyz"); code != want || !test.ready && strings.Contains(brief, ": ok") {
				t.Errorf("/readyz answers %d, %q", code, brief)
			}
		})
	}
}

// TestDraining: a server that drains is alive and answers everything, but says
// that it is not ready; and a call under way when it stops still ends well.
func TestDraining(t *testing.T) {
	s := &Server{Service: &operated{}}
	get, stop := openServer(t, s)
	answers(t, get, "/readyz", http.StatusOK, "ready\n")
	s.Drain()
	s.Drain()
	answers(t, get, "/readyz", http.StatusServiceUnavailable, "serving: failed: the node stops: closed\nnot ready\n")
	answers(t, get, "/livez", http.StatusOK, "ok\n")
	if code, _ := get("/metrics"); code != http.StatusOK {
		t.Errorf("/metrics answers %d while draining", code)
	}
	stop()
	if !s.draining.Load() {
		t.Error("it does not drain")
	}
}

// While calls finish after the server was told to stop, it still answers who asks
// how it is, and takes no new call.
func TestAnswersWhileItDrains(t *testing.T) {
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	begun, release := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() {
		close(begun)
		<-release
	})
	svc := &fake{publish: func(_ context.Context, _ string, drafts []Draft) ([]string, error) {
		if len(drafts) == 1 {
			first()
		}
		return []string{"cid"}, nil
	}}
	c, stop := serveServer(t, l, &Server{Service: svc})
	published, stopped := make(chan error, 1), make(chan struct{})
	go func() {
		_, err := c.Publish(t.Context(), "t", []Draft{{}})
		published <- err
	}()
	<-begun
	go func() {
		defer close(stopped)
		stop()
	}()
	code := http.StatusOK
	for code == http.StatusOK { // until it has heard of it
		r, err := http.Get("http://" + l.Addr().String() + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close() //nolint:errcheck // only the code counts
		code = r.StatusCode
	}
	if code != http.StatusServiceUnavailable {
		t.Errorf("/readyz answers %d while a call finishes", code)
	}
	for err == nil { // until it takes no more
		_, err = c.Publish(t.Context(), "t", []Draft{{}, {}})
	}
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("a call that came meanwhile: %v", err)
	}
	close(release)
	if err := <-published; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	<-stopped
}

// TestMetrics scrapes a node as Prometheus does.
func TestMetrics(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	n := openNode(t, node.Config{})
	topic, err := n.Topic(t.Context(), "topic")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := topic.Append(t.Context(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	get, stop := openServer(t, &Server{Service: NewLocal(n, "v0")})
	code, text := get("/metrics")
	if code != http.StatusOK {
		t.Errorf("/metrics answers %d %s", code, text)
	}
	for _, line := range []string{
		`cairn_events_total{source="append"} 1`, `cairn_topics{state="alone"} 1`, `cairn_heads 1`,
		`cairn_append_seconds_count 1`, `cairn_commit_seconds_count 1`, `# TYPE go_goroutines gauge`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the scrape has no line %q", line)
		}
	}
	stop()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOpsAreGuarded: what a page of another site asks for is refused, as for
// the rest of the API, and profiles are there only when asked for.
func TestOpsAreGuarded(t *testing.T) {
	plain, _ := openServer(t, &Server{Service: &operated{}})
	profiled, _ := openServer(t, &Server{Service: &operated{}, Pprof: true})
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/debug/pprof/"} {
		if code, _ := profiled(path); code != http.StatusOK {
			t.Errorf("%s answers %d", path, code)
		}
		if code, _ := profiled(path, "Origin", "https://example.com"); code != http.StatusForbidden {
			t.Errorf("%s answers %d to another site", path, code)
		}
	}
	if code, _ := profiled("/debug/pprof/goroutine?debug=1"); code != http.StatusOK {
		t.Errorf("a profile answers %d", code)
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine", "/debug/pprof/cmdline"} {
		if code, _ := plain(path); code != http.StatusNotFound {
			t.Errorf("%s answers %d without being asked for", path, code)
		}
	}
}

// TestCreateTopic creates restricted topics over the wire.
func TestCreateTopic(t *testing.T) {
	a, b := serveNode(t), serveNode(t)
	other, err := b.Status(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	own, err := a.Create(soon(t), "guild", "", []string{other.PeerID})
	if err != nil || own.Topic != "guild" || !own.Joined {
		t.Fatalf("%+v, %v", own, err)
	}
	if _, err := a.Publish(soon(t), "id:"+own.TopicID, []Draft{{Payload: []byte("x")}}); err != nil {
		t.Error(err)
	}
	theirs, err := a.Create(soon(t), "guild", other.PeerID, nil)
	if err != nil || theirs.TopicID == own.TopicID {
		t.Fatalf("%+v, %v", theirs, err)
	}
	_, err = a.Publish(soon(t), "id:"+theirs.TopicID, []Draft{{}})
	wantErr(t, err, types.ErrNotWriter)
	heads, err := a.Heads(soon(t), "id:"+theirs.TopicID)
	if err != nil || heads.Topic != "guild" || heads.TopicID != theirs.TopicID || heads.Events != 0 {
		t.Errorf("%+v, %v", heads, err)
	}
	if _, err := a.Leave(soon(t), "id:"+theirs.TopicID); err != nil {
		t.Fatal(err)
	}
	_, err = a.Publish(soon(t), "id:"+theirs.TopicID, []Draft{{}})
	wantErr(t, err, types.ErrNotWriter)
	if s, err := a.TopicStatus(soon(t), "id:"+theirs.TopicID); err != nil || s.State != node.Paused {
		t.Errorf("a refused publisher joined the topic: %+v, %v", s, err)
	}
	for _, bad := range []struct {
		name, owner string
		writers     []string
	}{{"", "", nil}, {"id:x", "", nil}, {"x", "y", nil}, {"x", "", []string{""}}, {"x", "", []string{other.PeerID[1:]}}} {
		_, err := a.Create(soon(t), bad.name, bad.owner, bad.writers)
		wantErr(t, err, types.ErrInvalidArgument)
	}
}
