package types

import (
	"bytes"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/ipld/go-ipld-prime/traversal"
	"github.com/multiformats/go-multihash"
)

// checkIPLD reads a block with ipld-prime and fails unless it writes the same
// bytes, computes the same CID, and finds exactly links in it.
func checkIPLD(t testing.TB, block []byte, id cid.Cid, links []cid.Cid) {
	t.Helper()
	builder := basicnode.Prototype.Any.NewBuilder()
	if err := dagcbor.Decode(builder, bytes.NewReader(block)); err != nil {
		t.Fatal(err)
	}
	node := builder.Build()
	var again bytes.Buffer
	if err := dagcbor.Encode(node, &again); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Bytes(), block) {
		t.Fatalf("ipld-prime writes %x, want %x", again.Bytes(), block)
	}
	system := cidlink.DefaultLinkSystem()
	computed, err := system.ComputeLink(cidlink.LinkPrototype{Prefix: cid.NewPrefixV1(cid.DagCBOR, multihash.SHA2_256)}, node)
	if err != nil {
		t.Fatal(err)
	}
	if computed.(cidlink.Link).Cid != id {
		t.Fatalf("ipld-prime computes %s, want %s", computed, id)
	}
	found, err := traversal.SelectLinks(node)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(linkCIDs(found), links) {
		t.Fatalf("ipld-prime finds links %v, want %v", found, links)
	}
}

func linkCIDs(links []datamodel.Link) []cid.Cid {
	var cids []cid.Cid
	for _, l := range links {
		cids = append(cids, l.(cidlink.Link).Cid)
	}
	return cids
}

func TestIPLDReadsOurBlocks(t *testing.T) {
	for _, c := range bodyCases(t) {
		e := c.event(t)
		checkIPLD(t, e.Bytes(), e.CID, append([]cid.Cid{e.Topic}, e.Links...))
	}
	for _, c := range genesisCases() {
		g, err := newGenesis(c.wire)
		if err != nil {
			t.Fatal(err)
		}
		checkIPLD(t, g.Bytes(), g.ID(), nil)
	}
}
