package syncer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2"
	corepeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// locateRequest asks who holds a topic.
type locateRequest struct {
	topic types.TopicID
	nonce [16]byte
	hops  uint32
}

func parseLocateRequest(m *pb.LocateRequest) (locateRequest, error) {
	var q locateRequest
	var err error
	if q.topic, err = parseCID(m.GetTopic()); err != nil {
		return q, err
	}
	if len(m.GetNonce()) != len(q.nonce) {
		return q, offencef("nonce of %d bytes", len(m.GetNonce()))
	}
	if m.GetHops() > maxHops {
		return q, offencef("%d hops, limit %d", m.GetHops(), maxHops)
	}
	q.nonce, q.hops = [16]byte(m.GetNonce()), m.GetHops()
	return q, nil
}

func (q locateRequest) message() *pb.Request {
	m := &pb.LocateRequest{Topic: q.topic.Bytes(), Nonce: q.nonce[:], Hops: q.hops}
	return &pb.Request{Request: &pb.Request_Locate{Locate: m}}
}

func holderMessage(info corepeer.AddrInfo) *pb.Holder {
	m := &pb.Holder{Peer: []byte(info.ID)}
	for _, a := range info.Addrs {
		if b := a.Bytes(); len(b) <= maxAddr && len(m.Addrs) < maxAddrs {
			m.Addrs = append(m.Addrs, b)
		}
	}
	return m
}

func parseHolders(list []*pb.Holder) ([]corepeer.AddrInfo, error) {
	if len(list) > maxHolders {
		return nil, offencef("%d holders, limit %d", len(list), maxHolders)
	}
	holders := make([]corepeer.AddrInfo, 0, len(list))
	for _, m := range list {
		id, err := corepeer.IDFromBytes(m.GetPeer())
		if err != nil {
			return nil, offencef("holder with no peer id: %v", err)
		}
		if len(m.GetAddrs()) > maxAddrs {
			return nil, offencef("holder with %d addresses, limit %d", len(m.GetAddrs()), maxAddrs)
		}
		info := corepeer.AddrInfo{ID: id}
		for _, b := range m.GetAddrs() {
			if len(b) > maxAddr {
				return nil, offencef("address of %d bytes, limit %d", len(b), maxAddr)
			}
			a, err := multiaddr.NewMultiaddrBytes(b)
			if err != nil {
				continue // of a later release, perhaps
			}
			info.Addrs = append(info.Addrs, a)
		}
		holders = append(holders, info)
	}
	return holders, nil
}

// searches bounds what searches by others cost: each is passed on once, each
// peer may start so many, and so many are under way. It is safe for concurrent
// use.
type searches struct {
	slots chan struct{} // holds one for each passed on now

	mu    sync.Mutex
	seen  *lru.Cache[[16]byte, struct{}]
	rates *lru.Cache[types.PeerID, *rate.Limiter]
}

func newSearches() *searches {
	seen, err := lru.New[[16]byte, struct{}](locatesRemembered)
	if err != nil {
		panic(err) // only a size that is not positive
	}
	rates, err := lru.New[types.PeerID, *rate.Limiter](quotaPeers)
	if err != nil {
		panic(err) // the same
	}
	return &searches{slots: make(chan struct{}, maxSearches), seen: seen, rates: rates}
}

// admit reports whether a search that comes from a peer is to be answered: it is
// new, and the peer within its rate.
func (s *searches) admit(from types.PeerID, nonce [16]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	limiter, ok := s.rates.Get(from)
	if !ok {
		limiter = rate.NewLimiter(locateRate, locateBurst)
		s.rates.Add(from, limiter)
	}
	if !limiter.Allow() || s.seen.Contains(nonce) {
		return false
	}
	s.seen.Add(nonce, struct{}{})
	return true
}

// note remembers an own search, so that it is not answered when it comes back.
func (s *searches) note(nonce [16]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.Add(nonce, struct{}{})
}

// locate answers Locate: with this node if it holds the topic, and, unless it holds
// events of it, with what its own peers say.
func (v *server) locate(ctx context.Context, m *pb.LocateRequest) error {
	q, err := parseLocateRequest(m)
	if err != nil {
		return err
	}
	a := new(pb.LocateAnswer)
	for _, info := range v.locateHere(ctx, q) {
		a.Holders = append(a.Holders, holderMessage(info))
	}
	return v.write(ctx, &pb.Response{Answer: &pb.Response_Locate{Locate: a}})
}

func (v *server) locateHere(ctx context.Context, q locateRequest) []corepeer.AddrInfo {
	if !v.s.searches.admit(v.peer, q.nonce) {
		return nil
	}
	var here []corepeer.AddrInfo
	if h, err := v.s.local.Heads(q.topic, 0); err == nil && !h.Paused {
		here = append(here, v.s.self())
		if h.Hash != trie.EmptyRoot {
			return here
		}
	}
	if q.hops == 0 {
		return here
	}
	select {
	case v.s.searches.slots <- struct{}{}:
		defer func() { <-v.s.searches.slots }()
	default:
		return here
	}
	q.hops--
	holders, _ := v.s.askHolders(ctx, q, v.s.peersBut(map[types.PeerID]bool{v.peer: true}))
	return append(here, holders[:min(len(holders), maxHolders-len(here))]...)
}

// flood asks all connected peers who holds the topic, and they theirs.
func (s *Syncer) flood(ctx context.Context, topic types.TopicID) ([]corepeer.AddrInfo, error) {
	peers := s.peersBut(nil)
	if len(peers) == 0 {
		return nil, errors.New("no peer is connected to ask")
	}
	q := locateRequest{topic: topic, hops: maxHops}
	rand.Read(q.nonce[:]) //nolint:errcheck // it never fails
	s.searches.note(q.nonce)
	holders, err := s.askHolders(ctx, q, peers)
	if len(holders) == 0 && err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	return holders, nil
}

// askHolders passes a search on, to some of peers, and merges what they answer
// within the time of the hops that are left. The error is that of a peer if none
// answered.
func (s *Syncer) askHolders(ctx context.Context, q locateRequest, peers []*peer) ([]corepeer.AddrInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, s.iv.Hop*time.Duration(q.hops+1))
	defer cancel()
	mathrand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	peers = peers[:min(len(peers), fanOutPeers)]
	var mu sync.Mutex
	var holders []corepeer.AddrInfo
	var failure error
	answered := 0
	seen := make(map[corepeer.ID]bool)
	var g errgroup.Group
	for _, p := range peers {
		g.Go(func() error {
			found, err := s.askHolder(ctx, p, q)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failure = err
				return nil
			}
			answered++
			for _, info := range found {
				if !seen[info.ID] && len(holders) < maxHolders {
					seen[info.ID] = true
					holders = append(holders, info)
				}
			}
			return nil
		})
	}
	g.Wait() //nolint:errcheck // none is returned
	if answered > 0 {
		failure = nil
	}
	return holders, failure
}

func (s *Syncer) askHolder(ctx context.Context, p *peer, q locateRequest) ([]corepeer.AddrInfo, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	c := &client{s: s, peer: p}
	defer c.close()
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	if err := c.send(q.message()); err != nil {
		return nil, err
	}
	m, err := c.next()
	if err == nil && (m.GetLocate() == nil || m.GetMore()) {
		err = offencef("answer to Locate is of another kind or length")
	}
	var holders []corepeer.AddrInfo
	if err == nil {
		holders, err = parseHolders(m.GetLocate().GetHolders())
	}
	if err != nil {
		c.reset()
		if ctx.Err() == nil {
			s.note(p.id, q.topic, err)
		}
	}
	return holders, err
}
