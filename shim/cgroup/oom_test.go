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
	reported := make(chan struct{}, 10)
	w, err := unifiedGroup(root).WatchOOM(t.Context(), &Notifier{}, func() { reported <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	w.Check()
	if len(reported) != 0 {
		t.Error("a kill before the watch was reported")
	}
	// A single write: a reader must not see a partial file.
	if err := write(w.counter, "oom 5\noom_kill 4\n"); err != nil {
		t.Fatal(err)
	}
	<-reported
	w.Close()
	w.Check()
	if len(reported) != 0 {
		t.Error("the kill was reported twice")
	}
	if err := write(w.counter, "oom 6\noom_kill 5\n"); err != nil {
		t.Fatal(err)
	}
	w.Check()
	if len(reported) != 1 {
		t.Error("Check missed a kill after Close")
	}
}

// legacyWatch watches a v1 cgroup. signal does what the kernel does when memory runs out.
func legacyWatch(t *testing.T) (w *OOMWatch, reported chan struct{}, signal func()) {
	t.Helper()
	root := tree(t, map[string]string{
		"memory/pod/web/memory.oom_control":   "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
		"memory/pod/web/cgroup.event_control": "",
	})
	reported = make(chan struct{}, 10)
	w, err := legacyGroup(root).WatchOOM(t.Context(), &Notifier{}, func() { reported <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	var eventfd, control int
	if _, err := fmt.Sscan(read(t, root, "memory/pod/web/cgroup.event_control"), &eventfd, &control); err != nil {
		t.Fatal(err)
	}
	return w, reported, func() {
		if _, err := unix.Write(eventfd, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWatchOOMLegacy(t *testing.T) {
	w, reported, signal := legacyWatch(t)
	if err := write(w.counter, "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"); err != nil {
		t.Fatal(err)
	}
	signal()
	<-reported
}

// The kernel signals before it counts a kill, and signals once.
func TestOOMCountedAfterSignal(t *testing.T) {
	w, reported, signal := legacyWatch(t)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, w.counter, unix.IN_CLOSE_NOWRITE); err != nil {
		t.Fatal(err)
	}
	signal()
	if _, err := unix.Read(fd, make([]byte, unix.SizeofInotifyEvent)); err != nil { // the old value
		t.Fatal(err)
	}
	if err := write(w.counter, "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-reported:
	case <-time.After(time.Minute):
		t.Error("the kill was missed")
	}
}

func TestWatchOOMWithoutMemory(t *testing.T) {
	g := &Group{Paths: map[string]string{"pids": "/pod/web"}, root: t.TempDir()}
	if _, err := g.WatchOOM(t.Context(), &Notifier{}, func() {}); !errdefs.IsNotFound(err) {
		t.Errorf("error = %v, want not found", err)
	}
}

// podScope is a systemd scope in the slice of its pod, as created for a kubelet with the systemd
// driver.
const (
	podSlice = "kubepods.slice/kubepods-pod1.slice"
	podScope = podSlice + "/cri-containerd-abc.scope"
)

func counted(kills int) string {
	return fmt.Sprintf("low 0\nhigh 0\nmax 31\noom %d\noom_kill %d\noom_group_kill 0\n", kills, kills)
}

// scope is a watched cgroup that systemd may remove.
type scope struct {
	root     string
	watch    *OOMWatch
	reported chan struct{}
}

// newScope watches a cgroup in the slice; the slice's counter starts with 3 kills.
func newScope(t *testing.T, group string) *scope {
	t.Helper()
	s := &scope{
		root:     tree(t, map[string]string{podSlice + "/memory.events": counted(3), group + "/memory.events": counted(0)}),
		reported: make(chan struct{}, 10),
	}
	g := &Group{Paths: map[string]string{"": "/" + group}, root: s.root}
	var err error
	if s.watch, err = g.WatchOOM(t.Context(), &Notifier{}, func() { s.reported <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.watch.Close)
	return s
}

// count sets the kill counter of a cgroup or slice, as the kernel does.
func (s *scope) count(t *testing.T, group string, kills int) {
	t.Helper()
	if err := write(filepath.Join(s.root, group, "memory.events"), counted(kills)); err != nil {
		t.Fatal(err)
	}
}

// remove removes a cgroup, as systemd does.
func (s *scope) remove(t *testing.T, group string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(s.root, group)); err != nil {
		t.Fatal(err)
	}
}

// TestOOMOfScope checks that CheckEnd finds a kill in a cgroup that was removed before it was read,
// and finds no kill where there was none.
func TestOOMOfScope(t *testing.T) {
	const ofCrun = podScope + "/container"
	for _, tt := range []struct {
		name   string
		group  string
		slice  int  // kills in the slice at the end
		killed bool // the init was ended by SIGKILL
		want   int
	}{
		{"killed by the kernel", podScope, 4, true, 1},
		{"killed by the kernel in the child of crun's scope", ofCrun, 4, true, 1},
		{"killed together with other containers", podScope, 9, true, 1},
		{"killed by a user", podScope, 3, true, 0},
		{"exited while another container was killed", podScope, 4, false, 0},
		{"no scope", podSlice + "/abc", 4, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScope(t, tt.group)
			s.remove(t, tt.group)
			s.count(t, podSlice, tt.slice)
			for range 2 { // the second call must not report it again
				s.watch.CheckEnd(tt.killed)
			}
			if len(s.reported) != tt.want || s.watch.Kills() != uint64(tt.want) {
				t.Errorf("reported %d times, %d kills, want %d", len(s.reported), s.watch.Kills(), tt.want)
			}
		})
	}
}

// TestOOMOfAnotherCgroupInTheSlice checks that a kill in another cgroup of the slice is not
// attributed to this cgroup, whose own counter was read after the kill.
func TestOOMOfAnotherCgroupInTheSlice(t *testing.T) {
	s := newScope(t, podScope)
	s.count(t, podSlice, 5)
	s.watch.Check()
	s.remove(t, podScope)
	s.watch.CheckEnd(true)
	if len(s.reported) != 0 {
		t.Error("a kill in another group was reported")
	}
}

// TestOOMIsSeenInSlice checks that a change of the slice's counter makes the watch read the
// cgroup's counter.
func TestOOMIsSeenInSlice(t *testing.T) {
	s := newScope(t, podScope)
	// The new file is not watched, so only the slice's counter causes a notification.
	events := filepath.Join(s.root, podScope, "memory.events")
	if err := os.Rename(events, events+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(events, []byte(counted(1)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.count(t, podSlice, 4)
	<-s.reported
	s.remove(t, podScope)
	s.watch.CheckEnd(true)
	if len(s.reported) != 0 || s.watch.Kills() != 1 {
		t.Errorf("reported twice, or %d kills, want 1", s.watch.Kills())
	}
}

// TestOOMWithoutNotifications checks that CheckEnd finds a kill if the kernel sends no
// notifications.
func TestOOMWithoutNotifications(t *testing.T) {
	root := tree(t, map[string]string{"memory/pod/web/memory.oom_control": "under_oom 0\noom_kill 0\n"})
	reported := make(chan struct{}, 10)
	w, err := legacyGroup(root).WatchOOM(t.Context(), &Notifier{}, func() { reported <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if w.NotifyErr() == nil {
		t.Error("no error without cgroup.event_control")
	}
	if err := write(w.counter, "under_oom 0\noom_kill 1\n"); err != nil {
		t.Fatal(err)
	}
	w.CheckEnd(true)
	if len(reported) != 1 {
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
		t.Errorf("statistics without kills: %v", got)
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
