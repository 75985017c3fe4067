// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestWatchOOM(t *testing.T) {
	root := tree(t, map[string]string{"pod/web/memory.events": "oom 4\noom_kill 3\n"})
	told := make(chan struct{}, 10)
	w, err := unifiedGroup(root).WatchOOM(t.Context(), &Announcer{}, func() { told <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	w.Check()
	if len(told) != 0 {
		t.Error("kill of before the watch was reported")
	}
	// One write: a reader must not see a file cut short.
	if err := write(w.counter, "oom 5\noom_kill 4\n"); err != nil {
		t.Fatal(err)
	}
	<-told
	w.Close()
	w.Check()
	if len(told) != 0 {
		t.Error("kill was reported twice")
	}
	if err := write(w.counter, "oom 6\noom_kill 5\n"); err != nil {
		t.Fatal(err)
	}
	w.Check()
	if len(told) != 1 {
		t.Error("kill after the watch was missed by Check")
	}
}

// legacyWatch watches a group of v1. announce is what the kernel does when memory has run out.
func legacyWatch(t *testing.T) (w *OOMWatch, told chan struct{}, announce func()) {
	t.Helper()
	root := tree(t, map[string]string{
		"memory/pod/web/memory.oom_control":   "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
		"memory/pod/web/cgroup.event_control": "",
	})
	told = make(chan struct{}, 10)
	w, err := legacyGroup(root).WatchOOM(t.Context(), &Announcer{}, func() { told <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	var eventfd, control int
	if _, err := fmt.Sscan(read(t, root, "memory/pod/web/cgroup.event_control"), &eventfd, &control); err != nil {
		t.Fatal(err)
	}
	return w, told, func() {
		if _, err := unix.Write(eventfd, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWatchOOMLegacy(t *testing.T) {
	w, told, announce := legacyWatch(t)
	if err := write(w.counter, "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"); err != nil {
		t.Fatal(err)
	}
	announce()
	<-told
}

// The kernel counts a kill after it has announced it, and announces it once.
func TestOOMIsCountedLate(t *testing.T) {
	w, told, announce := legacyWatch(t)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, w.counter, unix.IN_CLOSE_NOWRITE); err != nil {
		t.Fatal(err)
	}
	announce()
	if _, err := unix.Read(fd, make([]byte, unix.SizeofInotifyEvent)); err != nil { // until it is looked at in vain
		t.Fatal(err)
	}
	if err := write(w.counter, "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-told:
	case <-time.After(time.Minute):
		t.Error("the kill was missed")
	}
}

func TestWatchOOMWithoutMemory(t *testing.T) {
	g := &Group{Paths: map[string]string{"pids": "/pod/web"}, root: t.TempDir()}
	if _, err := g.WatchOOM(t.Context(), &Announcer{}, func() {}); !errdefs.IsNotFound(err) {
		t.Errorf("error = %v, want not found", err)
	}
}

// A scope of systemd in the slice of its pod, as the kubelet makes it.
const (
	podSlice = "kubepods.slice/kubepods-pod1.slice"
	podScope = podSlice + "/cri-containerd-abc.scope"
)

func counted(kills int) string {
	return fmt.Sprintf("low 0\nhigh 0\nmax 31\noom %d\noom_kill %d\noom_group_kill 0\n", kills, kills)
}

// scope is a watched group that systemd can take away.
type scope struct {
	root  string
	watch *OOMWatch
	told  chan struct{}
}

// newScope watches a group below the slice, in which 3 processes were killed before.
func newScope(t *testing.T, group string) *scope {
	t.Helper()
	s := &scope{
		root: tree(t, map[string]string{podSlice + "/memory.events": counted(3), group + "/memory.events": counted(0)}),
		told: make(chan struct{}, 10),
	}
	g := &Group{Paths: map[string]string{"": "/" + group}, root: s.root}
	var err error
	if s.watch, err = g.WatchOOM(t.Context(), &Announcer{}, func() { s.told <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.watch.Close)
	return s
}

// count is what the kernel does, in a group or the slice.
func (s *scope) count(t *testing.T, group string, kills int) {
	t.Helper()
	if err := write(filepath.Join(s.root, group, "memory.events"), counted(kills)); err != nil {
		t.Fatal(err)
	}
}

// collect is what systemd does.
func (s *scope) collect(t *testing.T, group string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(s.root, group)); err != nil {
		t.Fatal(err)
	}
}

// TestOOMOfScope finds a kill that was counted in a group that was gone before it
// was looked at, and no kill where there was none.
func TestOOMOfScope(t *testing.T) {
	const ofCrun = podScope + "/container"
	for _, tt := range []struct {
		name   string
		group  string
		slice  int  // kills in it, after
		killed bool // by SIGKILL
		want   int
	}{
		{"killed by the kernel", podScope, 4, true, 1},
		{"killed by the kernel below the scope of crun", ofCrun, 4, true, 1},
		{"killed with all others", podScope, 9, true, 1},
		{"killed by somebody", podScope, 3, true, 0},
		{"ended by itself when another was killed", podScope, 4, false, 0},
		{"no scope", podSlice + "/abc", 4, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScope(t, tt.group)
			s.collect(t, tt.group)
			s.count(t, podSlice, tt.slice)
			for range 2 { // it is told once
				s.watch.CheckEnd(tt.killed)
			}
			if len(s.told) != tt.want || s.watch.Kills() != uint64(tt.want) {
				t.Errorf("told %d times, of %d kills, want %d", len(s.told), s.watch.Kills(), tt.want)
			}
		})
	}
}

// A kill in another group of the slice is not taken for one of this group: while the
// group is there it says so.
func TestOOMOfNeighbour(t *testing.T) {
	s := newScope(t, podScope)
	s.count(t, podSlice, 5)
	s.watch.Check()
	s.collect(t, podScope)
	s.watch.CheckEnd(true)
	if len(s.told) != 0 {
		t.Error("a kill in another group was reported")
	}
}

// What the slice counts is a reason to look at the group.
func TestOOMIsSeenInSlice(t *testing.T) {
	s := newScope(t, podScope)
	// In a new file, which nobody watches; the old one stays, so that nothing is
	// announced of it.
	events := filepath.Join(s.root, podScope, "memory.events")
	if err := os.Rename(events, events+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(events, []byte(counted(1)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.count(t, podSlice, 4)
	<-s.told
	s.collect(t, podScope)
	s.watch.CheckEnd(true)
	if len(s.told) != 0 || s.watch.Kills() != 1 {
		t.Errorf("told again, or %d kills, want 1", s.watch.Kills())
	}
}

// Without announcements a kill is found at the end.
func TestOOMWithoutAnnouncements(t *testing.T) {
	root := tree(t, map[string]string{"memory/pod/web/memory.oom_control": "under_oom 0\noom_kill 0\n"})
	told := make(chan struct{}, 10)
	w, err := legacyGroup(root).WatchOOM(t.Context(), &Announcer{}, func() { told <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if w.Deaf() == nil {
		t.Error("announcements without cgroup.event_control")
	}
	if err := write(w.counter, "under_oom 0\noom_kill 1\n"); err != nil {
		t.Fatal(err)
	}
	w.CheckEnd(true)
	if len(told) != 1 {
		t.Error("the kill was missed")
	}
}

func TestCountKills(t *testing.T) {
	group := unifiedGroup(t.TempDir())
	read := &v2.Metrics{Pids: &v2.PidsStat{Current: 7}, MemoryEvents: &v2.MemoryEvents{OomKill: 2}}
	encoded, err := encode(read)
	if err != nil {
		t.Fatal(err)
	}
	if got := group.CountKills(nil, 0); got != nil {
		t.Errorf("statistics of nothing: %v", got)
	}
	for _, tt := range []struct {
		stats *anypb.Any
		kills uint64
		want  uint64
	}{{encoded, 0, 2}, {encoded, 1, 2}, {encoded, 3, 3}, {nil, 1, 1}} {
		got := &v2.Metrics{}
		if err := group.CountKills(tt.stats, tt.kills).UnmarshalTo(got); err != nil {
			t.Fatal(err)
		}
		if got.MemoryEvents.GetOomKill() != tt.want || tt.stats != nil && got.Pids.GetCurrent() != 7 {
			t.Errorf("with %d kills: %v, want %d kills and the rest", tt.kills, got, tt.want)
		}
	}
	legacy := &v1.Metrics{}
	if err := legacyGroup(t.TempDir()).CountKills(nil, 1).UnmarshalTo(legacy); err != nil || legacy.MemoryOomControl.GetOomKill() != 1 {
		t.Errorf("statistics of v1: %v, %v, want one kill", legacy, err)
	}
	if got := legacyGroup(t.TempDir()).CountKills(encoded, 1); got != encoded {
		t.Errorf("statistics of another version: %v", got)
	}
}
