// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/log"
	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// Without an inotify instance the directory is polled, and the log says so once.
func TestNoInotify(t *testing.T) {
	var logged bytes.Buffer
	before := log.L.Logger.Out
	log.L.Logger.SetOutput(&logged)
	t.Cleanup(func() { log.L.Logger.SetOutput(before) })

	s := newSite(t, "bridge")
	n := s.open()
	n.pollInterval = time.Millisecond
	n.newInotify = func() (*fsnotify.Watcher, error) { return nil, unix.EMFILE }
	t.Run("poll", func(t *testing.T) {
		run(t, n)
		s.write("10-a.conflist", "a", "1.0.0", adding("bridge"))
		eventually(t, "a new file", func() bool { return names(n) == "a" })
		s.write("10-a.conflist", "b", "1.0.0", adding("bridge"))
		eventually(t, "a changed file", func() bool { return names(n) == "b" })
		if err := os.Remove(filepath.Join(s.confDir, "10-a.conflist")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "no file", func() bool { return names(n) == "" })
	})
	if count := strings.Count(logged.String(), "max_user_instances"); count != 1 {
		t.Errorf("%d log lines about inotify instances, want 1:\n%s", count, &logged)
	}
}

// Changes for which inotify has no event are found by polling.
func TestPoll(t *testing.T) {
	needRoot(t)
	s := newSite(t, "bridge")
	s.write("10-a.conflist", "a", "1.0.0", adding("bridge"))
	n := s.open()
	n.pollInterval = time.Millisecond
	run(t, n)
	eventually(t, "the file", func() bool { return names(n) == "a" })

	other := newSite(t, "bridge")
	other.write("10-a.conflist", "mounted", "1.0.0", adding("bridge"))
	if err := unix.Mount(other.confDir, s.confDir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(s.confDir, unix.MNT_DETACH) })
	eventually(t, "the file of the mount", func() bool { return names(n) == "mounted" })
	if err := unix.Unmount(s.confDir, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file below", func() bool { return names(n) == "a" })

	target := filepath.Join(t.TempDir(), "target")
	for _, name := range []string{"first", "second"} {
		content := `{"name": "` + name + `", "type": "bridge"}`
		if err := os.WriteFile(target, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Symlink(target, filepath.Join(s.confDir, "05-link.conf"))
		eventually(t, "the target of a link", func() bool { return names(n) == name+" a" })
	}
}
