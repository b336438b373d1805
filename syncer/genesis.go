package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// FetchGenesis asks the connected peers for the genesis of a topic that need
// not be replicated here, genesisAsked at a time, then climbs the fetch ladder,
// and returns the first whose id is the topic. It blocks until one has it or all
// have answered. The error is types.ErrUnsupported if they have one whose rules
// this release does not know, and else types.ErrNotFound, with who was asked and
// what they said.
func (s *Syncer) FetchGenesis(ctx context.Context, topic types.TopicID) (*types.Genesis, error) {
	g, said, err := s.genesisFrom(ctx, topic, s.peersBut(nil))
	if err == nil && g == nil {
		g, err = s.genesisUp(ctx, topic, said)
	}
	if err != nil {
		return nil, fmt.Errorf("fetch genesis: %w", err)
	}
	return g, nil
}

// genesisUp climbs the ladder for a genesis that the connected peers, which said
// so, have not.
func (s *Syncer) genesisUp(ctx context.Context, topic types.TopicID, said []Answer) (*types.Genesis, error) {
	var g *types.Genesis
	var unsupported error
	climbing, cancel := context.WithTimeout(ctx, s.iv.Climb)
	defer cancel()
	end := s.climb(climbing, topic, s.rungs(needAll), func(ctx context.Context, p *peer) error {
		var err error
		if g, err = s.askGenesis(ctx, p, topic); errors.Is(err, types.ErrUnsupported) {
			unsupported = err
			return nil
		}
		if err == nil && g == nil {
			err = errNotHeld
		}
		return err
	})
	switch {
	case unsupported != nil:
		return nil, unsupported
	case g != nil:
		return g, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	first := Rung{Name: "connected peers", Found: fmt.Sprintf("%d asked", len(said)), Asked: said}
	return nil, fmt.Errorf("%w: %s", types.ErrNotFound, rungsText(append([]Rung{first}, end.report...)))
}

// genesisFrom asks peers for a genesis; nil, with what each said, if none has it.
func (s *Syncer) genesisFrom(ctx context.Context, topic types.TopicID, peers []*peer) (*types.Genesis, []Answer, error) {
	said := make([]Answer, len(peers))
	found := make([]*types.Genesis, len(peers))
	errs := make([]error, len(peers))
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(genesisAsked)
	for i, p := range peers {
		g.Go(func() error {
			found[i], errs[i] = s.askGenesis(asking, p, topic)
			said[i] = Answer{Peer: p.id, Answer: errNotHeld.Error()}
			if errs[i] != nil {
				said[i].Answer = errs[i].Error()
			}
			if found[i] != nil || errors.Is(errs[i], types.ErrUnsupported) {
				cancel() // the others need not answer
			}
			return nil
		})
	}
	g.Wait() //nolint:errcheck // none is returned
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	for i := range peers {
		if found[i] != nil {
			return found[i], nil, nil
		}
		if errors.Is(errs[i], types.ErrUnsupported) {
			return nil, nil, errs[i]
		}
	}
	return nil, said, nil
}

// peersBut returns the connected peers without those in but.
func (s *Syncer) peersBut(but map[types.PeerID]bool) []*peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*peer, 0, len(s.peers))
	for id, p := range s.peers {
		if !but[id] {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b *peer) int { return strings.Compare(string(a.id), string(b.id)) })
	return list
}

// askGenesis asks one peer for the genesis; nil if it does not have it.
func (s *Syncer) askGenesis(ctx context.Context, p *peer, topic types.TopicID) (*types.Genesis, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	c := &client{s: s, peer: p}
	defer c.reset() // the heads that follow are not wanted
	g, err := c.genesis(ctx, topic)
	if err != nil && ctx.Err() == nil {
		s.note(p.id, topic, err)
	}
	return g, err
}

func (c *client) genesis(ctx context.Context, topic types.TopicID) (*types.Genesis, error) {
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	q := headsQuery{topic: topic, genesis: true}
	m := &pb.HeadsRequest{Queries: []*pb.HeadsQuery{q.message()}}
	if err := c.send(&pb.Request{Request: &pb.Request_Heads{Heads: m}}); err != nil {
		return nil, err
	}
	r, err := c.next()
	if err != nil {
		return nil, err
	}
	if r.GetHeads() == nil {
		return nil, offencef("answer to Heads is of another kind")
	}
	return parseGenesis(r.GetHeads(), topic)
}

// parseGenesis returns the genesis that came with an answer to Heads, nil if
// there is none. types.ErrUnsupported blames no one, any other error the peer.
func parseGenesis(m *pb.HeadsAnswer, topic types.TopicID) (*types.Genesis, error) {
	page, err := parseHeadsAnswer(m)
	if err != nil {
		return nil, err
	}
	if page.topic != topic {
		return nil, offencef("answer to Heads of another topic or length")
	}
	if len(m.GetGenesis()) == 0 {
		return nil, nil
	}
	if len(m.GetGenesis()) > types.MaxGenesis {
		return nil, offencef("genesis of %d bytes, limit %d", len(m.GetGenesis()), types.MaxGenesis)
	}
	if id := types.SumCID(m.GetGenesis()); id != topic {
		return nil, offencef("served the genesis of %s as that of %s", id, topic)
	}
	g, err := types.DecodeGenesis(m.GetGenesis())
	switch {
	case errors.Is(err, types.ErrUnsupported):
		return nil, err
	case err != nil:
		return nil, offencef("serves a topic whose genesis is invalid: %v", err)
	}
	return g, nil
}

// sayings lists what peers said, for people.
func sayings(list []Answer) string {
	parts := make([]string, 0, min(len(list), maxAsked)+1)
	for _, a := range list[:min(len(list), maxAsked)] {
		parts = append(parts, fmt.Sprintf("%s: %s", a.Peer, a.Answer))
	}
	if more := len(list) - maxAsked; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d others", more))
	}
	return strings.Join(parts, "; ")
}
