package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-p2p/cairn/node"
)

// clusterDials is how many of the nodes before it a node of a cluster stays
// connected to: enough for a graph that survives the loss of some, where all of
// them would be 2,000 connections among 64 nodes.
const clusterDials = 4

// maxPort is the greatest port of TCP.
const maxPort = 1<<16 - 1

// cluster is some daemons in one process, on loopback.
type cluster struct {
	dir  string // node-1, node-2, … are in it
	temp bool   // dir goes with the cluster
	api  string // HOST:PORT of the first one's API; the others follow it
	log  *slog.Logger

	daemons []*daemon
	urls    []string        // of their APIs
	serving *errgroup.Group // a member for each daemon
	failed  context.Context // ends when a daemon failed

	mu      sync.Mutex
	signals []chan os.Signal // to each daemon; cap 2
}

// newCluster makes the directory for a cluster: a temporary one if dir is
// empty.
func newCluster(dir, api string, log *slog.Logger) (*cluster, error) {
	c := &cluster{dir: dir, api: api, log: log}
	if dir == "" {
		var err error
		if c.dir, err = os.MkdirTemp("", "cairn-dev-"); err != nil {
			return nil, fmt.Errorf("make a temporary directory: %w", err)
		}
		c.temp = true
	}
	c.serving, c.failed = errgroup.WithContext(context.Background())
	return c, nil
}

// nodeName is what the i-th node, from 0, is called, and its directory.
func nodeName(i int) string { return "node-" + strconv.Itoa(i+1) }

// start starts n daemons, each connected to those before it, and returns once
// all answer. After an error some may run: stop ends them.
func (c *cluster) start(ctx context.Context, n int) error {
	for i := range n {
		if err := c.startNode(ctx, i); err != nil {
			return fmt.Errorf("start %s: %w", nodeName(i), err)
		}
	}
	return nil
}

func (c *cluster) startNode(ctx context.Context, i int) error {
	address, err := apiAddress(c.api, i)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	log := c.log.With("node", nodeName(i))
	before := c.daemons[max(0, i-clusterDials):]
	d := &daemon{api: address, signals: signals, log: log, cfg: node.Config{
		Dir:       filepath.Join(c.dir, nodeName(i)),
		Listen:    []string{"/ip4/127.0.0.1/tcp/0"},
		Bootstrap: addresses(before),
		Log:       log,
	}}
	l, err := d.start(ctx)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; --api HOST:PORT takes another first port, port 0 free ones", err)
	}
	if err != nil {
		return err
	}
	c.daemons, c.urls = append(c.daemons, d), append(c.urls, "http://"+l.Addr().String())
	c.mu.Lock()
	c.signals = append(c.signals, signals)
	c.mu.Unlock()
	c.serving.Go(func() error { return d.serve(l) })
	return connect(ctx, d, before)
}

// apiAddress is where the i-th node's API is when the first one's is at first:
// on the port i above, or a free one if that is 0.
func apiAddress(first string, i int) (string, error) {
	host, port, err := net.SplitHostPort(first)
	if err != nil {
		return "", err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", fmt.Errorf("port %q: %w", port, err)
	}
	if p != 0 {
		p += uint64(i)
	}
	if p > maxPort {
		return "", fmt.Errorf("there are not so many ports from %s on", port)
	}
	return net.JoinHostPort(host, strconv.FormatUint(p, 10)), nil
}

// addresses returns where peers reach the daemons, one address each.
func addresses(daemons []*daemon) []string {
	all := make([]string, len(daemons))
	for i, d := range daemons {
		all[i] = d.node.Addrs()[0]
	}
	return all
}

// connect returns once d is connected to each of others.
func connect(ctx context.Context, d *daemon, others []*daemon) error {
	for _, address := range addresses(others) {
		if err := d.node.Connect(ctx, address); err != nil {
			return err
		}
	}
	return nil
}

// signal passes a signal on to each daemon: the first one ends it, a second
// one forces it to.
func (c *cluster) signal(s os.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, signals := range c.signals {
		select {
		case signals <- s:
		default: // it has had two
		}
	}
}

// stop ends what start has started, and removes a temporary directory.
func (c *cluster) stop() error {
	c.signal(os.Interrupt)
	err := c.serving.Wait()
	if c.temp {
		if gone := os.RemoveAll(c.dir); gone != nil {
			err = errors.Join(err, fmt.Errorf("remove the nodes' data: %w", gone))
		}
	}
	return err
}
