package syncer_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/syncer/syncertest"
	"github.com/cairn-p2p/cairn/types"
)

// strangers makes n connected-to-be nodes none of which has joined a topic.
func strangers(t *testing.T, n int) (*syncertest.Cluster, *pipes) {
	var net *pipes
	c := syncertest.NewCluster(t, n, func(t *testing.T, locals []*syncertest.Local) syncertest.Network {
		net = newPipes(t, syncer.Intervals{}, locals)
		return net
	})
	synctest.Wait()
	return c, net
}

// TestFetchGenesis: a node that has only the id of a restricted topic gets its
// genesis from whoever has it.
func TestFetchGenesis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net := strangers(t, 3)
		g, err := types.NewRestricted("restricted", types.PublisherOf(c.Locals[2].Key), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := net.list[0].FetchGenesis(t.Context(), g.ID()); !errors.Is(err, types.ErrNotFound) {
			t.Errorf("with no peer: %v, want not found", err)
		}
		c.Connects(1, 0, 2)
		_, err = net.list[0].FetchGenesis(t.Context(), g.ID())
		if !errors.Is(err, types.ErrNotFound) {
			t.Errorf("which nobody has: %v, want not found", err)
		}
		for _, l := range c.Locals[1:] {
			if err != nil && !strings.Contains(err.Error(), l.ID().String()) {
				t.Errorf("%v does not name %s, who was asked", err, l.ID())
			}
		}
		net.list[2].Add(g.ID(), c.Locals[2].Join(g))
		got, err := net.list[0].FetchGenesis(t.Context(), g.ID())
		if err != nil || got.ID() != g.ID() {
			t.Errorf("got %v, %v", got, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := net.list[0].FetchGenesis(ctx, g.ID()); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
	})
}

// TestFalseGenesis: another topic's genesis is an offence, one of a later
// release is not, and neither keeps a good one from being found.
func TestFalseGenesis(t *testing.T) {
	other, err := types.NewOpen("other")
	if err != nil {
		t.Fatal(err)
	}
	later := []byte{0x82, 0x18, 99, 0} // rule set 99
	for name, tt := range map[string]struct {
		genesis   []byte
		want      error
		offenders int
	}{
		"another topic's": {other.Bytes(), types.ErrNotFound, 1},
		"not one":         {[]byte{1, 2, 3}, types.ErrNotFound, 1},
		"unsupported":     {later, types.ErrUnsupported, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, net := strangers(t, 2)
				topic := c.Topic
				if tt.want == types.ErrUnsupported {
					topic = types.SumCID(tt.genesis)
				}
				c.Join(0)
				c.Join(1)
				c.Connect(0, 1)
				synctest.Wait()
				net.mu.Lock()
				net.relay = func(_ types.PeerID, st syncer.Stream) syncer.Stream {
					return lying(st, onHeads(func(a *pb.HeadsAnswer) {
						a.Topic, a.Genesis = topic.Bytes(), tt.genesis
						a.State, a.HeadsHash, a.LogId = pb.HeadsAnswer_STATE_REPLICATED, make([]byte, 32), make([]byte, 16)
					}))
				}
				net.mu.Unlock()
				if _, err := net.list[0].FetchGenesis(t.Context(), topic); !errors.Is(err, tt.want) {
					t.Errorf("%v, want %v", err, tt.want)
				}
				if st, err := net.list[0].Status(c.Topic); err != nil || len(st.Offenders) != tt.offenders {
					t.Errorf("offenders %+v, %v; want %d", st.Offenders, err, tt.offenders)
				}
			})
		})
	}
}
