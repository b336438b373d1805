package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"

	"github.com/cairn-p2p/cairn/api/cairn/v1/cairnv1connect"
	"github.com/cairn-p2p/cairn/types"
)

// Limits of the server.
const (
	// maxRequest is the size in bytes of the largest request: the largest
	// payload in JSON's base64 with its tags, and room around it.
	maxRequest = types.MaxFrame
	// headerTimeout bounds how long a request's head may take.
	headerTimeout = 10 * time.Second
	// idleTimeout is how long an idle connection is kept.
	idleTimeout = 2 * time.Minute
	// maxHeader is the size in bytes of the largest head of a request.
	maxHeader = 64 << 10
	// drainTimeout bounds how long requests may go on after the server was
	// told to stop. It leaves the node time to close within its 5 seconds.
	drainTimeout = 2 * time.Second
)

// Server is the API of one node. Only Service is required. It serves once.
type Server struct {
	// Service answers the protocol's calls. When it is an Operator too, /metrics
	// and /readyz answer for it.
	Service Service
	Log     *slog.Logger // of what goes wrong; nil: nothing is logged
	// Pprof adds the profiles of net/http/pprof under /debug/pprof/.
	Pprof bool

	draining atomic.Bool
	calls    sync.RWMutex // held for reading by each of the service's calls
}

// Drain makes /readyz answer 503 from now on, so that nobody sends the node new
// work. All requests are still answered. It may be called at any time, and more
// than once.
func (s *Server) Drain() { s.draining.Store(true) }

// Serve is Server.Serve with svc and log.
func Serve(ctx context.Context, l net.Listener, svc Service, log *slog.Logger) error {
	return (&Server{Service: svc, Log: log}).Serve(ctx, l)
}

// Serve answers requests on l until ctx ends. Then it drains: it ends the calls
// that wait for something, refuses new ones, and lets the others finish for up to
// two seconds, in which /readyz, /livez and /metrics still answer; then it returns
// nil. It owns l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	log := s.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	defer context.AfterFunc(ctx, s.Drain)()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler:           s.handler(ctx),
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	drained := make(chan error, 1)
	serving, done := context.WithCancel(ctx)
	defer done()
	go func() {
		<-serving.Done()
		drained <- s.drain(server)
	}()
	err := server.Serve(l)
	done()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	if err := errors.Join(err, <-drained); err != nil {
		return fmt.Errorf("serve API: %w", err)
	}
	return nil
}

// drain lets the server's requests finish, and cuts off what takes too long.
func (s *Server) drain(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	finished := make(chan struct{})
	go func() {
		s.calls.Lock() // for ever: no call begins again
		close(finished)
	}()
	select {
	case <-finished:
	case <-ctx.Done():
	}
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	return err
}

// handler returns the whole HTTP surface. ctx ends when the server stops.
func (s *Server) handler(ctx context.Context) http.Handler {
	options := []connect.HandlerOption{connect.WithReadMaxBytes(maxRequest)}
	for _, name := range jsonNames {
		options = append(options, connect.WithCodec(jsonCodec{name}))
	}
	mux := http.NewServeMux()
	h := &handler{svc: s.Service, draining: ctx}
	path, service := cairnv1connect.NewNodeServiceHandler(h, options...)
	mux.Handle(path, s.counted(service))
	path, service = cairnv1connect.NewConsumerServiceHandler(h, options...)
	mux.Handle(path, s.counted(service))
	reflector := grpcreflect.NewStaticReflector(cairnv1connect.NodeServiceName, cairnv1connect.ConsumerServiceName)
	mux.Handle(grpcreflect.NewHandlerV1(reflector))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector))
	s.addOps(mux)
	return guard(withController(mux))
}

// counted answers calls as next does until the server drains, which waits for
// them.
func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.calls.TryRLock() {
			http.Error(w, errStopping.Error(), http.StatusServiceUnavailable)
			return
		}
		defer s.calls.RUnlock()
		next.ServeHTTP(w, r)
	})
}

// controllerKey is the context key of the request's http.ResponseController.
type controllerKey struct{}

// withController puts the controller of each request into its context.
func withController(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), controllerKey{}, http.NewResponseController(w))
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// stopReading makes a pending read of the request's body fail, so that the
// goroutine that reads it can be waited for.
func stopReading(ctx context.Context) {
	if c, ok := ctx.Value(controllerKey{}).(*http.ResponseController); ok {
		c.SetReadDeadline(time.Now()) //nolint:errcheck // then the client's end, or the handler's, ends the read
	}
}
