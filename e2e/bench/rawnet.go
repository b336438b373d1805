package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"golang.org/x/sync/errgroup"
)

const rawProtocol = "/cairn/bench/raw/1"

// rawHosts opens n libp2p hosts on loopback over TCP and Noise, all connected.
func rawHosts(ctx context.Context, n int) (hosts []host.Host, closeAll func(), err error) {
	closeAll = func() {
		for _, h := range hosts {
			h.Close() //nolint:errcheck // nothing depends on it
		}
	}
	for range n {
		h, err := libp2p.New(libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(noise.ID, noise.New),
			libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay(), libp2p.DisableMetrics())
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		hosts = append(hosts, h)
	}
	return hosts, closeAll, nil
}

// connectAll connects each host with each.
func connectAll(ctx context.Context, hosts []host.Host) error {
	for i, h := range hosts {
		for _, other := range hosts[:i] {
			if err := h.Connect(ctx, peer.AddrInfo{ID: other.ID(), Addrs: other.Addrs()}); err != nil {
				return err
			}
		}
	}
	return nil
}

// streams is one stream over TCP and Noise on loopback that carries events,
// buffered.
func streams() probe {
	return probe{"raw stream", func(ctx context.Context) (float64, error) {
		hosts, closeAll, err := rawHosts(ctx, 2)
		if err != nil {
			return 0, err
		}
		defer closeAll()
		if err := connectAll(ctx, hosts); err != nil {
			return 0, err
		}
		hosts[0].SetStreamHandler(rawProtocol, func(s network.Stream) {
			io.Copy(io.Discard, s)  //nolint:errcheck // the sender sees it
			io.WriteString(s, "ok") //nolint:errcheck // the sender sees it
			s.Close()               //nolint:errcheck // the sender sees it
		})
		s, err := hosts[1].NewStream(ctx, hosts[0].ID(), rawProtocol)
		if err != nil {
			return 0, err
		}
		w := bufio.NewWriterSize(s, 64<<10)
		event := make([]byte, eventSize)
		start, n := time.Now(), 0
		for ; time.Since(start) < probeTime; n++ {
			if _, err := w.Write(event); err != nil {
				return 0, err
			}
		}
		if err := errors.Join(w.Flush(), s.CloseWrite()); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(s, make([]byte, 2)); err != nil { // all has arrived
			return 0, err
		}
		return float64(n) / time.Since(start).Seconds(), nil
	}}
}

// roundTrip measures a request and its answer, of an event each, on an open
// stream.
func roundTrip(ctx context.Context) (time.Duration, error) {
	hosts, closeAll, err := rawHosts(ctx, 2)
	if err != nil {
		return 0, err
	}
	defer closeAll()
	if err := connectAll(ctx, hosts); err != nil {
		return 0, err
	}
	hosts[0].SetStreamHandler(rawProtocol, func(s network.Stream) {
		io.Copy(s, s) //nolint:errcheck // the asker sees it
		s.Close()     //nolint:errcheck // the asker sees it
	})
	s, err := hosts[1].NewStream(ctx, hosts[0].ID(), rawProtocol)
	if err != nil {
		return 0, err
	}
	buf := make([]byte, eventSize)
	rate, err := perSecond(1, func(uint64) error {
		if _, err := s.Write(buf); err != nil {
			return err
		}
		_, err := io.ReadFull(s, buf)
		return err
	})
	return time.Duration(float64(time.Second) / rate), errors.Join(err, s.Close())
}

// Sizes of the messages of gossips.
const (
	aMessage     = 1  // one event a message
	aFullMessage = 72 // 32 KiB of events, what the broadcaster fills under load
)

// gossips is unsigned gossipsub among fully connected nodes of one process, all
// publishing at once: the events of messages that reached every node.
func gossips(nodes, events int) probe {
	name := fmt.Sprintf("gossipsub of %d", nodes)
	if events > 1 {
		name += fmt.Sprintf(", %d a message", events)
	}
	return probe{name, func(ctx context.Context) (float64, error) {
		hosts, closeAll, err := rawHosts(ctx, nodes)
		if err != nil {
			return 0, err
		}
		defer closeAll()
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		g := &gossipRun{nodes: nodes, size: events * eventSize, flight: make(chan struct{}, gossipWindow)}
		if err := g.join(ctx, hosts); err != nil {
			return 0, err
		}
		rate, err := g.publish(ctx)
		return rate * float64(events), err
	}}
}

// gossipWindow is the number of messages on the way: few enough that none of
// gossipsub's queues, raised as here, drops any.
const gossipWindow = 128

// gossipRun is one measurement of gossips.
type gossipRun struct {
	nodes, size int
	topics      []*pubsub.Topic
	subs        []*pubsub.Subscription
	flight      chan struct{}
	arrivals    [1 << 20]atomic.Int32 // by message
	reached     atomic.Int64
}

func (g *gossipRun) join(ctx context.Context, hosts []host.Host) error {
	for _, h := range hosts {
		ps, err := pubsub.NewGossipSub(ctx, h,
			pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(), pubsub.WithFloodPublish(true),
			pubsub.WithMessageIdFn(func(m *pubsubpb.Message) string { sum := sha256.Sum256(m.Data); return string(sum[:]) }),
			pubsub.WithPeerOutboundQueueSize(1024), pubsub.WithValidateQueueSize(1024))
		if err != nil {
			return err
		}
		t, err := ps.Join("raw")
		if err != nil {
			return err
		}
		s, err := t.Subscribe(pubsub.WithBufferSize(1024))
		if err != nil {
			return err
		}
		g.topics, g.subs = append(g.topics, t), append(g.subs, s)
	}
	if err := connectAll(ctx, hosts); err != nil {
		return err
	}
	return g.meet(ctx)
}

// meet waits until each node knows each other one to be in the topic.
func (g *gossipRun) meet(ctx context.Context) error {
	for _, t := range g.topics {
		events, err := t.EventHandler()
		if err != nil {
			return err
		}
		for n := 0; n < g.nodes-1; {
			e, err := events.NextPeerEvent(ctx) // those that came before count too
			if err != nil {
				return err
			}
			if e.Type == pubsub.PeerJoin {
				n++
			}
		}
		events.Cancel()
	}
	return nil
}

// publish sends for probeTime from all nodes, waits until all is received by
// all, and returns the messages a second.
func (g *gossipRun) publish(ctx context.Context) (float64, error) {
	receiving, stop := context.WithCancel(ctx)
	var readers errgroup.Group
	for _, s := range g.subs {
		readers.Go(func() error { return g.receive(receiving, s) })
	}
	start := time.Now()
	var next atomic.Int64
	writers, writing := errgroup.WithContext(ctx)
	for _, t := range g.topics {
		writers.Go(func() error {
			for time.Since(start) < probeTime {
				select {
				case g.flight <- struct{}{}:
				case <-writing.Done():
					return writing.Err()
				}
				data := make([]byte, g.size)
				binary.BigEndian.PutUint64(data, uint64(next.Add(1)-1))
				if err := t.Publish(writing, data); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := writers.Wait()
	for range gossipWindow { // all that is on the way has arrived
		select {
		case g.flight <- struct{}{}:
		case <-ctx.Done():
			err = errors.Join(err, fmt.Errorf("%d of %d messages reached all: %w", g.reached.Load(), next.Load(), ctx.Err()))
		}
	}
	took := time.Since(start)
	stop()
	return float64(g.reached.Load()) / took.Seconds(), errors.Join(err, readers.Wait())
}

// receive counts what arrives at one node, its own messages included.
func (g *gossipRun) receive(ctx context.Context, s *pubsub.Subscription) error {
	for {
		m, err := s.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		i := binary.BigEndian.Uint64(m.Data)
		if g.arrivals[i].Add(1) == int32(g.nodes) {
			g.reached.Add(1)
			<-g.flight
		}
	}
}
