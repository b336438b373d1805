package types

import "testing"

// Guards against defect 5 of the peers: a hash over fields without their
// lengths, so that bytes moved from one field to the next leave it the same, and
// two nodes hold different events under one CID.
func TestFieldsDoNotRunTogether(t *testing.T) {
	topic := SumCID([]byte("topic"))
	seen := map[TopicID]string{}
	for name, b := range map[string]Body{
		"tags ab":               {Tags: []string{"ab"}},
		"tags a, b":             {Tags: []string{"a", "b"}},
		"tag a, payload b":      {Tags: []string{"a"}, Payload: []byte("b")},
		"payload ab":            {Payload: []byte("ab")},
		"a link":                {Links: []TopicID{topic}, Height: 2},
		"the link as a payload": {Payload: topic.Bytes()},
	} {
		b.Topic, b.Publisher, b.Seq, b.Height = topic, testPublisher(1), 1, max(1, b.Height)
		e, err := NewEvent(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if other, ok := seen[e.CID]; ok {
			t.Errorf("%q and %q have one CID", name, other)
		}
		seen[e.CID] = name
	}
}
