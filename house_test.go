// Package cairn_test holds the packages of this module to the directions in
// which they may import each other and the libraries that matter.
package cairn_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/cairn-p2p/cairn"

// may lists, for each package of the module, the others that its code may
// import directly. A name ending in /... stands for all below it.
var may = map[string][]string{
	"types":                       {},
	"trie":                        {"types"},
	"tomlfile":                    {"types"},
	"crdt/clock":                  {"types"},
	"crdt/clock/sim":              {"types", "crdt/clock"},
	"crdt":                        {"types", "trie", "crdt/clock"},
	"store/badger":                {"types", "trie"},
	"store/mem":                   {"types", "trie"},
	"store/storetest":             {"types", "trie"},
	"broadcaster":                 {"types", "trie"},
	"broadcaster/gossip":          {"types", "trie", "broadcaster", "broadcaster/gossip/pb"},
	"broadcaster/gossip/pb":       {},
	"broadcaster/mem":             {"types", "trie", "broadcaster"},
	"broadcaster/broadcastertest": {"types", "trie", "broadcaster"},
	"syncer":                      {"types", "trie", "syncer/pb"},
	"syncer/pb":                   {},
	"syncer/discovery":            {"types"},
	"syncer/mem":                  {"types", "trie", "syncer"},
	"syncer/syncertest":           {"types", "trie", "syncer"},
	"delivery":                    {"types", "tomlfile"},
	"keyfile":                     {},
	"client":                      {"types", "crdt/clock", "keyfile", "client/pb", "client/wire"}, // links are chosen by the one rule, which is pure
	"client/wire":                 {"types", "client/pb"},
	"client/pb":                   {},
	"node":                        {"types", "trie", "crdt", "crdt/clock", "delivery", "store/...", "broadcaster/...", "syncer/...", "broadcaster", "syncer", "keyfile", "client/pb", "client/wire"}, // the broker's end of the wire, and no client
	"api":                         {"types", "crdt", "delivery", "node", "api/...", "client/pb"},
	"api/cairn/v1":                {"client/pb"},
	"api/cairn/v1/cairnv1connect": {"api/cairn/v1", "client/pb"},
	"graph":                       {},
	"cmd/cairn":                   {"types", "crdt", "delivery", "node", "api", "api/...", "graph", "e2e", "client", "keyfile"},
	"e2e":                         {"types", "tomlfile", "crdt", "node", "e2e/hostile"},
	"e2e/hostile":                 {"types", "trie", "syncer/pb", "broadcaster/gossip/pb", "client/pb"}, // the wire, and no node behind it
	"e2e/cases":                   {"e2e"},
	"e2e/bench":                   {"types", "crdt", "delivery", "node", "api", "store/badger"}, // the last to fill a node's data at once
	"mutants":                     {},
}

// only lists libraries that few packages may import, tests aside.
var only = map[string][]string{
	"github.com/libp2p/":          {"broadcaster/gossip", "syncer", "syncer/discovery", "node", "client", "keyfile", "e2e", "e2e/bench", "e2e/hostile"},
	"github.com/dgraph-io/":       {"store/badger", "e2e/bench"}, // bench measures it raw, as a limit
	"connectrpc.com/":             {"api", "api/cairn/v1/cairnv1connect"},
	"github.com/spf13/cobra":      {"cmd/cairn"},
	"github.com/fxamacker/cbor":   {"types"},
	"github.com/prometheus/":      {"node", "api"},
	"github.com/marcopolo/":       {"e2e"},
	"github.com/quic-go/":         {"e2e"},
	"go.uber.org/fx":              {"e2e"},
	"github.com/pelletier/":       {"tomlfile", "e2e"},
	"github.com/santhosh-tekuri/": {"delivery"},
}

// pure lists what the clock may not import: it decides, and does nothing.
var pure = []string{"context", "net", "os", "sync", "time", "math/rand", "log"}

func TestImportDirections(t *testing.T) {
	seen := map[string]bool{}
	for file, imports := range goFiles(t) {
		pkg, test := path.Dir(file), strings.HasSuffix(file, "_test.go")
		seen[pkg] = true
		allowed, known := may[pkg]
		if !known && pkg != "." {
			t.Errorf("%s: package %s is not in the house: add it to this test with the directions it keeps to", file, pkg)
		}
		for _, imp := range imports {
			own, ours := strings.CutPrefix(imp, module+"/")
			switch {
			case ours && !test && !matches(allowed, own):
				t.Errorf("%s imports %s, which %s may not", file, own, pkg)
			case !ours && !test:
				checkLibrary(t, file, pkg, imp)
			}
			if pkg == "crdt/clock" && !test {
				checkPure(t, file, imp)
			}
		}
	}
	for pkg := range may {
		if !seen[pkg] {
			t.Errorf("package %s is in this test but not in the tree", pkg)
		}
	}
}

func checkLibrary(t *testing.T, file, pkg, imp string) {
	t.Helper()
	for prefix, users := range only {
		if strings.HasPrefix(imp, prefix) && !matches(users, pkg) {
			t.Errorf("%s imports %s, which only %v may", file, imp, users)
		}
	}
}

func checkPure(t *testing.T, file, imp string) {
	t.Helper()
	for _, p := range pure {
		if imp == p || strings.HasPrefix(imp, p+"/") {
			t.Errorf("%s imports %s: the clock is pure", file, imp)
		}
	}
}

func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		if below, ok := strings.CutSuffix(p, "/..."); ok && strings.HasPrefix(name, below+"/") || p == name {
			return true
		}
	}
	return false
}

// isModule reports whether a directory holds a module of its own.
func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// goFiles returns the imports of every Go file of the module, by its path.
func goFiles(t *testing.T) map[string][]string {
	t.Helper()
	files := map[string][]string{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && name != "." && isModule(name) {
			return fs.SkipDir
		}
		if err != nil || d.IsDir() || filepath.Ext(name) != ".go" {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)] = []string{}
		for _, i := range f.Imports {
			imp, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			files[filepath.ToSlash(name)] = append(files[filepath.ToSlash(name)], imp)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
