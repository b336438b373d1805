package storetest

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/cairn-p2p/cairn/types"
)

func testTopics(d *disk) {
	rng := d.rng
	dag := NewDAG(d, rng, "topic", 2)
	_, err := d.store.Topic(dag.Topic())
	wantError(d, err, types.ErrNotFound)
	_, err = d.store.Load(dag.Topic(), types.Publisher{})
	wantError(d, err, types.ErrNotFound)
	wantError(d, d.store.LeaveTopic(dag.Topic()), types.ErrNotFound)
	wantError(d, d.store.Commit(dag.Batch(1)), types.ErrNotFound)

	must(d, d.store.JoinTopic(dag.Genesis))
	dag.Grow(d.store, 50)
	must(d, d.store.LeaveTopic(dag.Topic()))
	must(d, d.store.LeaveTopic(dag.Topic()))
	d.reopen()
	checkTopic(d, dag, false)
	must(d, d.store.JoinTopic(dag.Genesis)) // a new start of the old data
	must(d, d.store.JoinTopic(dag.Genesis))
	d.crash()
	checkTopic(d, dag, true)
}

func checkTopic(d *disk, dag *DAG, joined bool) {
	d.Helper()
	info, err := d.store.Topic(dag.Topic())
	must(d, err)
	if info.Joined != joined || info.Events != uint64(len(dag.Events)) || !slices.Equal(info.Heads, dag.sortedHeads()) {
		d.Errorf("topic is %+v, want joined %v, %d events, heads %v", info, joined, len(dag.Events), dag.sortedHeads())
	}
	if !bytes.Equal(info.Genesis.Bytes(), dag.Genesis.Bytes()) {
		d.Errorf("genesis is %x, want %x", info.Genesis.Bytes(), dag.Genesis.Bytes())
	}
}

// testManyTopics has more topics than one length of topic number and one chunk
// of a listing can take.
func testManyTopics(d *disk) {
	const topics = 1100
	rng := d.rng
	var dags []*DAG
	for i := range topics {
		dag := NewDAG(d, rng, fmt.Sprint("topic ", i), 1)
		must(d, d.store.JoinTopic(dag.Genesis))
		if i%100 == 0 {
			dag.Commit(d.store, 3)
		}
		dags = append(dags, dag)
	}
	infos, err := collect(d.store.Topics())
	must(d, err)
	if len(infos) != topics {
		d.Fatalf("%d topics, want %d", len(infos), topics)
	}
	for i, info := range infos {
		if info.Genesis.ID() != dags[i].Topic() || info.Events != uint64(len(dags[i].Events)) {
			d.Fatalf("topic %d is %q with %d events", i, info.Genesis.Name, info.Events)
		}
	}
	for range d.store.Topics() {
		break // a loop may be left
	}
}

func testMeta(d *disk) {
	b, err := d.store.Meta("key")
	must(d, err)
	if b != nil {
		d.Errorf("absent metadata is %q", b)
	}
	must(d, d.store.SetMeta("key", []byte("value")))
	must(d, d.store.SetMeta("gone", []byte("value")))
	must(d, d.store.SetMeta("gone", nil))
	must(d, d.store.SetMeta("never", nil))
	must(d, d.store.SetMeta("empty", []byte{}))
	d.crash()
	for key, want := range map[string][]byte{"key": []byte("value"), "gone": nil, "never": nil, "empty": {}} {
		b, err := d.store.Meta(key)
		must(d, err)
		if !bytes.Equal(b, want) || (b == nil) != (want == nil) {
			d.Errorf("metadata %q is %#v, want %#v", key, b, want)
		}
	}
	must(d, d.store.SetMeta("mark/b", []byte{1}))
	must(d, d.store.SetMeta("mark/a", nil))
	must(d, d.store.SetMeta("mark/c", []byte{1}))
	must(d, d.store.SetMeta("marks", []byte{1}))
	for prefix, want := range map[string][]string{"mark/": {"mark/b", "mark/c"}, "none": nil} {
		keys, err := d.store.MetaKeys(prefix)
		must(d, err)
		if !slices.Equal(keys, want) {
			d.Errorf("metadata below %q is %q, want %q", prefix, keys, want)
		}
	}
}

// testMetas writes records together and reads them in pages.
func testMetas(d *disk) {
	must(d, d.store.SetMetas())
	must(d, d.store.SetMetas(
		types.Record{Key: "a/2", Value: []byte("two")}, types.Record{Key: "a/1", Value: []byte("one")},
		types.Record{Key: "a/3", Value: []byte{}}, types.Record{Key: "a", Value: []byte("outside")},
		types.Record{Key: "a/4", Value: []byte("four")}, types.Record{Key: "b", Value: []byte("outside")},
	))
	must(d, d.store.SetMetas(types.Record{Key: "a/2"}, types.Record{Key: "a/4", Value: []byte("4")}))
	must(d, d.store.SetMetas(types.Record{Key: "b"}, types.Record{Key: "never"}))
	d.crash()
	all := []types.Record{{Key: "a/1", Value: []byte("one")}, {Key: "a/3", Value: []byte{}}, {Key: "a/4", Value: []byte("4")}}
	for _, page := range []struct {
		after string
		limit int
		want  []types.Record
	}{{"", 10, all}, {"", 2, all[:2]}, {"a/", 10, all}, {"a/1", 10, all[1:]}, {"a/2", 1, all[1:2]}, {"a/4", 10, nil}} {
		got, err := d.store.Metas("a/", page.after, page.limit)
		must(d, err)
		same := func(a, b types.Record) bool {
			return a.Key == b.Key && bytes.Equal(a.Value, b.Value) && a.Value != nil
		}
		if !slices.EqualFunc(got, page.want, same) {
			d.Errorf("%d records behind %q are %q, want %q", page.limit, page.after, got, page.want)
		}
	}
	if b, err := d.store.Meta("b"); err != nil || b != nil {
		d.Errorf("deleted metadata is %q: %v", b, err)
	}
}

func testStarts(d *disk) {
	first, id := d.store.Starts(), d.store.LogID()
	if id == (types.LogID{}) {
		d.Error("log id is zero")
	}
	d.reopen()
	if n := d.store.Starts(); n <= first {
		d.Errorf("%d starts after %d", n, first)
	}
	second := d.store.Starts()
	d.crash()
	if n := d.store.Starts(); n <= second {
		d.Errorf("%d starts after %d and a crash", n, second)
	}
	if d.store.LogID() != id {
		d.Error("log id changed")
	}
}
