package syncer

import (
	"testing"
	"time"
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
