package syncer

import (
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/types"
)

// TestJudge: what each kind of replica means for the state of its topic.
func TestJudge(t *testing.T) {
	in := replica{held: true, lastSync: time.Unix(1, 0)}
	behind := replica{held: true}
	failing := replica{held: true, failures: 1}
	unproven := replica{held: true, failures: 1, unproven: true}
	paused := replica{held: true, paused: true}
	for name, tt := range map[string]struct {
		replicas []replica
		want     State
	}{
		"none":                      {nil, StateAlone},
		"one that has not joined":   {[]replica{{}}, StateAlone},
		"in sync":                   {[]replica{in, in}, StateSynced},
		"one has something new":     {[]replica{in, behind}, StateBehind},
		"one fails":                 {[]replica{in, failing}, StateBehind},
		"all fail":                  {[]replica{failing, failing}, StateBehind},
		"one claims without proof":  {[]replica{in, unproven}, StateSynced},
		"all claim without proof":   {[]replica{unproven}, StateBehind},
		"one is paused":             {[]replica{in, paused}, StateSynced},
		"all are paused":            {[]replica{paused}, StateAlone},
		"paused, the other behind":  {[]replica{paused, behind}, StateBehind},
		"fails, the other unproven": {[]replica{failing, unproven}, StateBehind},
	} {
		s := newSyncer(Config{})
		top := &topic{replicas: make(map[*peer]*replica)}
		for i := range tt.replicas {
			p := &peer{exchanged: true}
			tt.replicas[i].peer = p
			top.replicas[p] = &tt.replicas[i]
		}
		if got, reason := s.judge(top, top.status()); got != tt.want || reason == "" {
			t.Errorf("%s: %s (%s), want %s", name, got, reason, tt.want)
		}
		// A climb in vain makes the difference where nobody helps.
		top.ladder.stalled = true
		want := tt.want
		if top.helpless() {
			want = StateStalled
		}
		if got, reason := s.judge(top, top.status()); got != want || reason == "" {
			t.Errorf("%s, after a climb: %s (%s), want %s", name, got, reason, want)
		}
	}
}

// TestCompared: what each kind of peer means for whether its copy is known here.
func TestCompared(t *testing.T) {
	id := types.SumCID([]byte("topic"))
	for name, tt := range map[string]struct {
		replica   replica
		due       bool
		newcomer  bool
		connected bool
		want      bool
	}{
		"nobody":                   {want: true},
		"newly connected":          {connected: true, newcomer: true},
		"to be asked":              {connected: true, due: true},
		"in the queue":             {connected: true, replica: replica{queued: true}},
		"being asked":              {connected: true, replica: replica{running: true}},
		"has not joined":           {connected: true, replica: replica{rounds: 1, failures: 1}, due: true, want: true},
		"has something":            {connected: true, replica: replica{held: true, rounds: 1}},
		"in sync":                  {connected: true, replica: replica{held: true, rounds: 1, lastSync: time.Unix(1, 0)}, want: true},
		"in sync, and now it grew": {connected: true, replica: replica{held: true, rounds: 1, lastSync: time.Unix(1, 0), heads: types.Hash{1}}, due: true, want: true},
		"paused":                   {connected: true, replica: replica{held: true, rounds: 1, paused: true}, want: true},
		"failed once":              {connected: true, replica: replica{held: true, rounds: 1, failures: 1}, due: true},
		"fails":                    {connected: true, replica: replica{held: true, rounds: 3, failures: firstTries}, due: true, want: true},
	} {
		s := newSyncer(Config{})
		s.Add(id, types.Hash{})
		if tt.connected {
			p := &peer{exchanged: !tt.newcomer, replicas: map[*topic]*replica{}, due: map[*replica]time.Time{}}
			s.peers["p"] = p
			r := p.replicaOf(s.digest.get(id))
			top := r.topic
			*r = tt.replica
			r.peer, r.topic = p, top
			if tt.due {
				p.due[r] = time.Unix(1, 0)
			}
		}
		if got := s.Compared(id); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
