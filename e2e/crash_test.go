package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A copy has every file with all its bytes, holes or not; what differs in a
// byte, a length or a name is found.
func TestCopyCrashed(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	holes := make([]byte, 300_000)
	holes[100_000], holes[250_000] = 1, 2
	for name, content := range map[string][]byte{"empty": nil, "key": []byte("secret"), "store/log": holes, "store/zero": make([]byte, 200_000)} {
		path := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := copyCrashed(to, from); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(to, "store", "log"))
	if err != nil || !bytes.Equal(got, holes) {
		t.Errorf("the copy of a file with holes differs: %v", err)
	}
	for name, change := range map[string]func() error{
		"a byte":   func() error { return os.WriteFile(filepath.Join(from, "key"), []byte("Secret"), 0o600) },
		"a length": func() error { return os.Truncate(filepath.Join(from, "key"), 3) },
		"a file":   func() error { return os.WriteFile(filepath.Join(from, "more"), nil, 0o600) },
	} {
		same := filepath.Join(t.TempDir(), "copy")
		if err := copyTree(same, from); err != nil {
			t.Fatal(err)
		}
		if ok, err := sameTree(same, from); !ok || err != nil {
			t.Errorf("%s: a copy differs: %v", name, err)
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if ok, err := sameTree(same, from); ok || err != nil {
			t.Errorf("%s: the change is not found: %v", name, err)
		}
	}
}
