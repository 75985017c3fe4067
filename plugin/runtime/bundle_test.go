// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCleanBundles(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "sockets")
	for _, path := range []string{filepath.Join(dir, "web"), filepath.Join(dir, ".db"), outside} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, ".db", "s")); err != nil {
		t.Fatal(err)
	}
	if err := CleanBundles(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "web" {
		t.Errorf("left %v, %v; want the bundle in use", entries, err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("target of a link in a removed bundle: %v", err)
	}
	if err := CleanBundles(filepath.Join(dir, "none")); err != nil {
		t.Errorf("without a directory: %v", err)
	}
}
