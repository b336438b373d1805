package api

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/cairn-p2p/cairn/types"
)

func TestGuard(t *testing.T) {
	h := guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	for _, test := range []struct {
		host, origin string
		want         int
	}{
		{"127.0.0.1:7460", "", http.StatusOK},
		{"127.0.0.1", "", http.StatusOK},
		{"127.9.9.9:1", "", http.StatusOK},
		{"[::1]:7460", "", http.StatusOK},
		{"[::1]", "", http.StatusOK},
		{"LocalHost:1", "http://localhost:3000", http.StatusOK},
		{"127.0.0.1:7460", "http://127.0.0.1:7460", http.StatusOK},
		{"127.0.0.1:7460", "https://example.com", http.StatusForbidden},
		{"127.0.0.1:7460", "http://localhost.example.com", http.StatusForbidden},
		{"127.0.0.1:7460", "null", http.StatusForbidden},
		{"127.0.0.1:7460", "://", http.StatusForbidden},
		{"rebound.example.com:7460", "", http.StatusForbidden},
		{"rebound.example.com:7460", "http://rebound.example.com:7460", http.StatusForbidden},
		{"localhost.example.com", "", http.StatusForbidden},
		{"127.0.0.1.example.com", "", http.StatusForbidden},
		{"192.0.2.1:7460", "", http.StatusForbidden},
		{"0.0.0.0:7460", "", http.StatusForbidden},
		{"", "", http.StatusForbidden},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Host = test.host
		if test.origin != "" {
			r.Header.Set("Origin", test.origin)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != test.want {
			t.Errorf("Host %q, Origin %q: %d, want %d", test.host, test.origin, w.Code, test.want)
		}
	}
}

func TestListen(t *testing.T) {
	for _, addr := range []string{"", ":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:0", "127.0.0.1", "http://127.0.0.1:0"} {
		l, err := Listen(addr)
		if err == nil {
			l.Close() //nolint:errcheck // the test has failed
		}
		wantErr(t, err, types.ErrInvalidArgument)
	}
	for _, addr := range []string{"127.0.0.1:0", "localhost:0"} {
		l, err := Listen(addr)
		if err != nil {
			t.Error(err)
			continue
		}
		l.Close() //nolint:errcheck // nothing was accepted
	}
}
