// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// instances returns the number of inotify instances of this process.
func instances(t *testing.T) int {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == "anon_inode:inotify" {
			count++
		}
	}
	return count
}

// TestNotifier watches more containers in one slice than a user may have inotify instances. Each
// watch must report the kill in its own container, and no kill after it is closed.
func TestNotifier(t *testing.T) {
	const count = 200
	before := instances(t)
	name := func(i int) string { return fmt.Sprintf("%s/cri-containerd-%d.scope", podSlice, i) }
	files := map[string]string{podSlice + "/memory.events": counted(0)}
	for i := range count {
		files[name(i)+"/memory.events"] = counted(0)
	}
	root := tree(t, files)
	var a Notifier
	reported := make(chan int, 2*count)
	var watches []*OOMWatch
	for i := range count {
		w, err := (&Group{Paths: map[string]string{"": "/" + name(i)}, root: root}).WatchOOM(t.Context(), &a, func() { reported <- i })
		if err != nil || w.NotifyErr() != nil {
			t.Fatal(err, w.NotifyErr())
		}
		watches = append(watches, w)
	}
	if now := instances(t); now != before+1 {
		t.Errorf("%d inotify instances for %d containers, want 1", now-before, count)
	}

	kill := func(i, kills int) {
		t.Helper()
		if err := write(filepath.Join(root, name(i), "memory.events"), counted(kills)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range count {
		kill(i, 1)
		if got := <-reported; got != i {
			t.Fatalf("the kill in container %d was reported for container %d", i, got)
		}
	}
	// The notification for container 0 comes after that for container 1, which is not watched any
	// more.
	watches[1].Close()
	kill(1, 2)
	kill(0, 2)
	if got := <-reported; got != 0 {
		t.Errorf("a kill in container %d was reported after its watch was closed", got)
	}

	for _, w := range watches {
		w.Close()
	}
	if now := instances(t); now != before {
		t.Errorf("%d inotify instances are still open", now-before)
	}
	// The next watch opens a new instance.
	w, err := (&Group{Paths: map[string]string{"": "/" + name(1)}, root: root}).WatchOOM(t.Context(), &a, func() { reported <- 1 })
	if err != nil {
		t.Fatal(err)
	}
	kill(1, 3)
	<-reported
	w.Close()
}
