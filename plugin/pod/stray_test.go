// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// What a loss of power brings back of a pod that had given it back is released at start, and
// nothing else is.
func TestRecoverReleasesStrays(t *testing.T) {
	const netns = "/ns/net" // where the namespace of any pod would be
	for _, tc := range []struct {
		name     string
		end      string // what was done to the pod before: "stop" or "remove"
		files    bool
		netns    string // of the attachment that came back
		pinned   bool
		others   bool // containerd has a record of somebody else's
		released bool
	}{
		{name: "removed, all is back", end: "remove", files: true, netns: netns, released: true},
		{name: "removed, the files are back", end: "remove", files: true, released: true},
		{name: "removed, the network is back", end: "remove", netns: netns, released: true},
		{name: "stopped, all is back", end: "stop", files: true, netns: netns, released: true},
		{name: "not ended", files: true, netns: netns},
		{name: "of another runtime", end: "remove", netns: "/ns/other"},
		{name: "of another daemon, and in use", end: "remove", netns: netns, pinned: true},
		{name: "of the built-in CRI", end: "remove", files: true, netns: netns, others: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newMachine()
			before := newManager(t, f)
			id, err := before.Run(t.Context(), ownPID("web"), "")
			if err != nil {
				t.Fatal(err)
			}
			switch tc.end {
			case "stop":
				err = before.Stop(t.Context(), id, fakeMembers{f})
			case "remove":
				err = before.Remove(t.Context(), id, fakeMembers{f})
			}
			if err != nil {
				t.Fatal(err)
			}
			before.Close()
			f.comesBack(id, tc.files, tc.netns)
			if tc.pinned {
				f.Makes("pin", "namespaces")
			}
			if tc.others {
				f.saved[id] = []byte("null")
			}
			left := f.World.Left()

			startWithStrays(t, f)
			if tc.released {
				left = slices.DeleteFunc(left, func(what string) bool { return what == "files" || what == "address" })
			}
			if got := f.World.Left(); !slices.Equal(got, left) {
				t.Errorf("left: %q, want %q\n%s", got, left, f.Trace())
			}
		})
	}
}

// A stray whose network cannot be detached keeps its files, by which the next start finds it.
func TestRecoverReleasesStraysLater(t *testing.T) {
	for _, step := range []string{"detach", "unpin", "remove files"} {
		f := newMachine()
		f.comesBack("gone", true, "")
		f.Fail(step, errBroken)
		startWithStrays(t, f)
		if !f.Has("files") {
			t.Errorf("%s failed, and the files are removed", step)
		}
		f.Fail(step, nil)
		f.unpinned = false
		startWithStrays(t, f)
		if left := f.Left(); len(left) != 0 {
			t.Errorf("%s: left after the next start: %q", step, left)
		}
	}
}

// A pod whose Run a crash ended is torn down when the CRI serves, as CNI plugins may need it. The
// same pod runs again after that, and not before.
func TestHalfMadePodIsTornDownWhenTheCRIServes(t *testing.T) {
	f := newMachine()
	before := newManager(t, f)
	t.Cleanup(f.Block("start task"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = before.Run(ctx, sharedPID("web"), "")
	f.Await(t, "start task")
	f.Forget()

	after := newManager(t, f)
	after.NewID = func() string { return "another" }
	if err := after.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	strays, err := after.Strays(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if trace := f.Trace(); trace != "" || len(strays) != 1 {
		t.Errorf("%d strays, and before the CRI serves:\n%s", len(strays), trace)
	}
	if _, err := after.Run(ctx, ownPID("web"), ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Run of the same pod = %v, want it to wait", err)
	}
	after.ReleaseStrays(t.Context(), strays)
	if trace := f.Trace(); !strings.Contains(trace, "detach") {
		t.Errorf("it is not torn down:\n%s", trace)
	}
}

// startWithStrays is what the daemon does at start.
func startWithStrays(t *testing.T, f *machine) {
	t.Helper()
	recoverAll(t, newManager(t, f))
}

// recoverAll does with the pods what the daemon does at start.
func recoverAll(t *testing.T, m *Manager) {
	t.Helper()
	if err := m.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	strays, err := m.Strays(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.ReleaseStrays(t.Context(), strays)
}

// comesBack is the machine after a loss of power.
func (f *machine) comesBack(id string, files bool, netns string) {
	f.unpinned = false
	if files {
		f.strayFiles = []string{id}
		f.Makes("make files", "files")
	}
	if netns != "" {
		f.attached = map[string]string{id: netns}
		f.Makes("attach", "address")
	}
	f.Forget()
}
