package api

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/cairn-p2p/cairn/types"
)

// CheckListen reports why addr, HOST:PORT, is no address for the API. Whoever
// reaches the API can do everything, so only loopback addresses will do. The
// error is types.ErrInvalidArgument.
func CheckListen(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%w: API address %q: want HOST:PORT", types.ErrInvalidArgument, addr)
	}
	if err := checkPort(port); err != nil {
		return fmt.Errorf("%w: API address %q: %w", types.ErrInvalidArgument, addr, err)
	}
	if !isLoopback(host) {
		return fmt.Errorf("%w: API address %q is not a loopback address; use 127.0.0.1, [::1] or localhost", types.ErrInvalidArgument, addr)
	}
	return nil
}

func checkPort(port string) error {
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port %q: want a number from 0 to 65535", port)
	}
	return nil
}

// Listen opens the listener of an API at addr, HOST:PORT, which must be on the
// loopback interface; port 0 takes a free one. Besides what CheckListen says it
// fails with the error of the network.
func Listen(addr string) (net.Listener, error) {
	if err := CheckListen(addr); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for the API: %w", err)
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() { // what localhost resolved to
		l.Close() //nolint:errcheck // nothing was accepted
		return nil, fmt.Errorf("%w: API address %q resolved to %s, which is not a loopback address", types.ErrInvalidArgument, addr, a.IP)
	}
	return l, nil
}

// isLoopback reports whether host is a name of this machine's loopback
// interface.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// guard refuses requests that a browser makes for someone else's page: those
// addressed to a name that was pointed at the loopback interface, and those
// that a foreign page sends.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopbackHost(r.Host) {
			http.Error(w, "the Host of the request is not a loopback address", http.StatusForbidden)
			return
		}
		for _, origin := range r.Header.Values("Origin") {
			u, err := url.Parse(origin)
			if err != nil || !isLoopbackHost(u.Host) {
				http.Error(w, "requests from other sites are refused", http.StatusForbidden)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// isLoopbackHost is isLoopback for a host with or without a port.
func isLoopbackHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return isLoopback(host)
}
