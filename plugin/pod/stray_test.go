// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

// Resources of removed or stopped pods that a power failure restored are released at start. Others
// are kept.
func TestRecoverReleasesStrays(t *testing.T) {
	const netns = "/ns/net" // path that fakeNamespaces plans for every pod
	for _, tc := range []struct {
		name     string
		end      string // call before the power failure: "stop" or "remove"
		files    bool   // restored
		netns    string // of the restored CNI attachment
		pinned   bool
		others   bool // containerd has a record of another CRI plugin
		released bool
	}{
		{name: "removed, all restored", end: "remove", files: true, netns: netns, released: true},
		{name: "removed, files restored", end: "remove", files: true, released: true},
		{name: "removed, network restored", end: "remove", netns: netns, released: true},
		{name: "stopped, all restored", end: "stop", files: true, netns: netns, released: true},
		{name: "ready", files: true, netns: netns},
		{name: "of another runtime", end: "remove", netns: "/ns/other"},
		{name: "of another daemon, and in use", end: "remove", netns: netns, pinned: true},
		{name: "of the built-in CRI", end: "remove", files: true, netns: netns, others: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeNode()
			before := newManager(t, f)
			id := mustRun(t, before, ownPID("web"))
			switch tc.end {
			case "stop":
				mustStop(t, before, f, id)
			case "remove":
				mustRemove(t, before, f, id)
			}
			before.Close()
			f.restore(id, tc.files, tc.netns)
			if tc.pinned {
				f.Makes("pin", "namespaces")
			}
			if tc.others {
				f.SandboxRecords[id] = []byte("null")
			}
			left := f.Left()

			startDaemon(t, f)
			if tc.released {
				left = slices.DeleteFunc(left, func(resource string) bool { return resource == "files" || resource == "address" })
			}
			if got := f.Left(); !slices.Equal(got, left) {
				t.Errorf("left: %q, want %q\n%s", got, left, f.Trace())
			}
		})
	}
}

// A shim that was launched for a pod, and got no task before the daemon was killed, is killed at
// the next start, unless other pods may use it.
func TestRecoverKillsAbandonedShim(t *testing.T) {
	for handler, want := range map[string][]string{"lite": nil, "shared": {"shim"}} {
		f := newFakeNode()
		r := &Record{ID: "pod9", Name: name(podConfig("web").GetMetadata()), Config: podConfig("web"), Handler: handler, State: Creating}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		f.SandboxRecords[r.ID] = text
		f.Add("record", 1)
		f.Add("shim", 1)
		startDaemon(t, f)
		if left := f.Left(); !slices.Equal(left, want) {
			t.Errorf("handler %s: left %q, want %q", handler, left, want)
		}
	}
}

// A stray whose teardown fails keeps its files, by which the next start finds it.
func TestStrayTeardownIsRetriedAtNextStart(t *testing.T) {
	for _, step := range []string{"detach", "unpin", "remove files"} {
		f := newFakeNode()
		f.restore("gone", true, "")
		f.Fail(step, errBroken)
		startDaemon(t, f)
		if !f.Has("files") {
			t.Errorf("%s failed and the files were removed", step)
		}
		f.Fail(step, nil)
		f.unpinned = false
		startDaemon(t, f)
		if left := f.Left(); len(left) != 0 {
			t.Errorf("%s: left after the next start: %q", step, left)
		}
	}
}

// A pod whose Run was interrupted by a crash is torn down after the CRI is ready, because CNI
// plugins may need the CRI. A Run of the same pod waits for the teardown.
func TestInterruptedRunIsTornDownAfterReady(t *testing.T) {
	f := newFakeNode()
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
		t.Errorf("%d strays; steps before TearDownStrays:\n%s", len(strays), trace)
	}
	if _, err := after.Run(ctx, ownPID("web"), ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Run of the same pod = %v, want it to wait for the teardown", err)
	}
	after.TearDownStrays(t.Context(), strays)
	if trace := f.Trace(); !strings.Contains(trace, "detach") {
		t.Errorf("the pod was not torn down:\n%s", trace)
	}
}

// startDaemon starts a daemon on the host.
func startDaemon(t *testing.T, f *fakeNode) {
	t.Helper()
	recoverAll(t, newManager(t, f))
}

// recoverAll recovers pods and tears down strays, as the daemon does at start.
func recoverAll(t *testing.T, m *Manager) {
	t.Helper()
	if err := m.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	strays, err := m.Strays(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.TearDownStrays(t.Context(), strays)
}

// restore puts the host into the state after a power failure that restored files or a CNI
// attachment of a pod.
func (f *fakeNode) restore(id string, files bool, netns string) {
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
