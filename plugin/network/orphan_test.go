// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// Only empty files of addresses are removed, and not while host-local runs.
func TestFreeOrphans(t *testing.T) {
	data := t.TempDir()
	files := map[string]string{
		"lock": "", "last_reserved_ip.0": "", "10.1.0.2": "pod1\r\neth0", "10.1.0.3": "", "fd00::5": "",
	}
	mustWrite := func(network string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(data, network), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(data, network, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustWrite("main")
	mustWrite("busy")
	running, err := os.Open(filepath.Join(data, "busy", "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	if err := unix.Flock(int(running.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}

	s := newSite(t, "bridge")
	bridge := adding("bridge")
	bridge.IPAM = json.RawMessage(`{"type": "host-local", "dataDir": "` + data + `"}`)
	s.write("10-main.conflist", "main", "1.0.0", bridge)
	n := s.open()
	if dirs := n.hostLocalDirs(); !slices.Contains(dirs, data) || !slices.Contains(dirs, HostLocalDir) || len(dirs) != 2 {
		t.Errorf("directories %v", dirs)
	}
	if err := freeOrphans(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	for network, want := range map[string][]string{
		"main": {"10.1.0.2", "last_reserved_ip.0", "lock"},
		"busy": {"10.1.0.2", "10.1.0.3", "fd00::5", "last_reserved_ip.0", "lock"},
	} {
		entries, err := os.ReadDir(filepath.Join(data, network))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("network %s (-want +got):\n%s", network, diff)
		}
	}
}
