package hostile

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/types"
)

// MaxCount bounds Config.Count: ten times the largest attack that is described.
const MaxCount = 10_000_000

// Config says whom to attack and how.
type Config struct {
	Behaviour string           // the name of one of Behaviours
	Count     int              // how much of it; 0: the behaviour's own, small number
	Network   string           // of the victims
	Topics    []*types.Genesis // that the victims replicate: at least one
	Victims   []string         // multiaddresses with peer ids; the peers stay connected to all
	// Host returns where the i-th peer of the attack listens, a multiaddress,
	// and further options of its libp2p host.
	Host func(i int) (listen string, options []libp2p.Option)
	Seed uint64 // of what is drawn; keys are drawn anew
}

// Attack is a behaviour under way. Its methods are safe for concurrent use.
type Attack struct {
	how   Behaviour
	peers []*hostilePeer
}

// Start begins an attack, and returns when its peers are connected to their
// victims, or cannot be. It goes on until Close. The error is
// types.ErrInvalidArgument for a Config that cannot be.
func Start(ctx context.Context, cfg Config) (*Attack, error) {
	how, ok := Named(cfg.Behaviour)
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: no behaviour %q", types.ErrInvalidArgument, cfg.Behaviour)
	case cfg.Count < 0 || cfg.Count > MaxCount:
		return nil, fmt.Errorf("%w: count %d is not in [0, %d]", types.ErrInvalidArgument, cfg.Count, MaxCount)
	case len(cfg.Topics) < max(how.Topics, 1):
		return nil, fmt.Errorf("%w: %s needs %d topics", types.ErrInvalidArgument, how.Name, max(how.Topics, 1))
	}
	if cfg.Count == 0 {
		cfg.Count = how.Count
	}
	var victims []peer.AddrInfo
	for _, v := range cfg.Victims {
		info, err := peer.AddrInfoFromString(v)
		if err != nil {
			return nil, fmt.Errorf("%w: victim %q: %w", types.ErrInvalidArgument, v, err)
		}
		victims = append(victims, *info)
	}
	a := &Attack{how: how}
	identities := 1
	if how.crowd {
		identities = cfg.Count
	}
	keys := how.keys(cfg, identities)
	for i := range identities {
		p, err := newPeer(cfg, how, keys[i], i)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start %s: %w", how.Name, err), a.Close())
		}
		p.victims = victims
		a.peers = append(a.peers, p)
	}
	for _, p := range a.peers {
		p.others = a.peers
	}
	for _, p := range a.peers {
		if err := p.start(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("start %s: %w", how.Name, err), a.Close())
		}
	}
	return a, nil
}

// Behaviour returns what the attack is.
func (a *Attack) Behaviour() Behaviour { return a.how }

// IDs returns the identities that take part.
func (a *Attack) IDs() []types.PeerID {
	var ids []types.PeerID
	for _, p := range a.peers {
		ids = append(ids, types.PeerID(p.host.ID()))
	}
	return ids
}

// Banned reports whether an event is one that no correct node may integrate:
// forged, or with links that nobody has.
func (a *Attack) Banned(e *types.Event) bool {
	return slices.ContainsFunc(a.peers, func(p *hostilePeer) bool { return p.bans(e) })
}

// Done returns how much of what the behaviour counts was done so far: events or
// messages sent, streams opened, requests answered.
func (a *Attack) Done() int {
	n := 0
	for _, p := range a.peers {
		n += int(p.done.Load())
	}
	return n
}

// Close ends the attack. When it returns, nothing of it is left.
func (a *Attack) Close() error {
	var err error
	for _, p := range a.peers {
		err = errors.Join(err, p.close())
	}
	return err
}

func (cfg *Config) random(i int) *rand.Rand {
	return rand.New(rand.NewPCG(cfg.Seed, uint64(i)+3))
}

// Events returns how many events of the topic the attack serves that are as they
// should be, and so are integrated in the end.
func (a *Attack) Events(topic types.TopicID) int {
	if !a.how.Valid {
		return 0
	}
	n := 0
	for _, p := range a.peers {
		if b := p.book(topic); b != nil {
			n += len(b.page().log)
		}
	}
	return n
}
