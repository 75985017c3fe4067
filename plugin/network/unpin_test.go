// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

func TestUnpin(t *testing.T) {
	p, stateDir := newTestPinner(t)
	all := PinOptions{ID: "a", Net: true, IPC: true, UTS: true}
	tests := []struct {
		name   string
		change func(ns Namespaces) error
	}{
		{"complete", func(Namespaces) error { return nil }},
		{"rebooted, files left", func(ns Namespaces) error {
			return errors.Join(unix.Unmount(ns.Net, 0), unix.Unmount(ns.IPC, 0), unix.Unmount(ns.UTS, 0))
		}},
		{"partly created", func(ns Namespaces) error {
			return errors.Join(unix.Unmount(ns.Net, 0), os.Remove(ns.Net), unix.Unmount(ns.UTS, 0))
		}},
		{"mounted twice", func(ns Namespaces) error { return unix.Mount(ns.Net, ns.Net, "", unix.MS_BIND, "") }},
		{"gone", func(Namespaces) error { return p.Unpin(t.Context(), "a", Namespaces{}) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ns, err := p.Pin(t.Context(), all)
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.change(ns); err != nil {
				t.Fatal(err)
			}
			if err := p.Unpin(t.Context(), "a", Namespaces{}); err != nil {
				t.Errorf("Unpin: %v", err)
			}
			if got := leftovers(t, stateDir); got != nil {
				t.Errorf("left: %v", got)
			}
		})
	}
	elsewhere := NewPinner(p.paths, filepath.Join(stateDir, "before"))
	ns, err := elsewhere.Pin(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Unpin(t.Context(), "a", ns); err != nil || p.Pinned(Namespaces{Net: ns.Net}) {
		t.Errorf("network namespace in the directory of another configuration not unpinned: %v", err)
	}
	if err := p.Unpin(t.Context(), "../etc", Namespaces{}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("Unpin of a path: %v, want InvalidArgument", err)
	}
}

func TestUnpinKeepsFilesOfOthers(t *testing.T) {
	p, _ := newTestPinner(t)
	if _, err := p.Pin(t.Context(), PinOptions{ID: "a", IPC: true}); err != nil {
		t.Fatal(err)
	}
	other := p.paths.Pod("a").Shm()
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := p.Unpin(t.Context(), "a", Namespaces{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}
