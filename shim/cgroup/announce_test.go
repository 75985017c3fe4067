// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// instances is how many instances of inotify this process has.
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

// TestAnnouncer watches more containers than a user has instances of inotify, in one
// slice, and wants each to hear of its own kill, and of none after its end.
func TestAnnouncer(t *testing.T) {
	const count = 200
	before := instances(t)
	name := func(i int) string { return fmt.Sprintf("%s/cri-containerd-%d.scope", podSlice, i) }
	files := map[string]string{podSlice + "/memory.events": counted(0)}
	for i := range count {
		files[name(i)+"/memory.events"] = counted(0)
	}
	root := tree(t, files)
	var a Announcer
	told := make(chan int, 2*count)
	var watches []*OOMWatch
	for i := range count {
		w, err := (&Group{Paths: map[string]string{"": "/" + name(i)}, root: root}).WatchOOM(t.Context(), &a, func() { told <- i })
		if err != nil || w.Deaf() != nil {
			t.Fatal(err, w.Deaf())
		}
		watches = append(watches, w)
	}
	if now := instances(t); now != before+1 {
		t.Errorf("%d instances of inotify for %d containers, want 1", now-before, count)
	}

	kill := func(i, kills int) {
		t.Helper()
		if err := write(filepath.Join(root, name(i), "memory.events"), counted(kills)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range count {
		kill(i, 1)
		if heard := <-told; heard != i {
			t.Fatalf("container %d was told of the kill in %d", heard, i)
		}
	}
	// A kill in the first is announced after one in the second, which is not watched any more.
	watches[1].Close()
	kill(1, 2)
	kill(0, 2)
	if heard := <-told; heard != 0 {
		t.Errorf("container %d was told of a kill after the end of its watch", heard)
	}

	for _, w := range watches {
		w.Close()
	}
	if now := instances(t); now != before {
		t.Errorf("%d instances of inotify are left", now-before)
	}
	// The next watch has a new one.
	w, err := (&Group{Paths: map[string]string{"": "/" + name(1)}, root: root}).WatchOOM(t.Context(), &a, func() { told <- 1 })
	if err != nil {
		t.Fatal(err)
	}
	kill(1, 3)
	<-told
	w.Close()
}
