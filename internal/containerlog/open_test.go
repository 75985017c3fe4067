// SPDX-License-Identifier: Apache-2.0

package containerlog

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// TestOpenRefuses puts other files in the place of the log. Open must not open or write any of
// them, and must not block.
func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name  string
		log   string
		plant func(dir, outside string) error
		class func(error) bool
	}{
		{name: "path above the directory", log: "../outside/0.log", class: errdefs.IsInvalidArgument},
		{name: "absolute path", log: "/0.log", class: errdefs.IsInvalidArgument},
		{name: "no name", log: "", class: errdefs.IsInvalidArgument},
		{name: "zero byte", log: "a\x00b"},
		{name: "long name", log: strings.Repeat("x", 4097)},
		{
			name: "symbolic link", log: "0.log", class: errdefs.IsFailedPrecondition,
			plant: func(dir, outside string) error {
				return os.Symlink(filepath.Join(outside, "canary"), filepath.Join(dir, "0.log"))
			},
		},
		{
			name: "dangling symbolic link", log: "0.log", class: errdefs.IsFailedPrecondition,
			plant: func(dir, outside string) error {
				return os.Symlink(filepath.Join(outside, "new"), filepath.Join(dir, "0.log"))
			},
		},
		{
			name: "symbolic link as parent", log: "web/0.log",
			plant: func(dir, outside string) error { return os.Symlink(outside, filepath.Join(dir, "web")) },
		},
		{
			name: "symbolic link as log directory", log: "0.log", class: errdefs.IsFailedPrecondition,
			plant: func(dir, outside string) error { return errors.Join(os.Remove(dir), os.Symlink(outside, dir)) },
		},
		{
			name: "FIFO", log: "0.log", class: errdefs.IsFailedPrecondition,
			plant: func(dir, _ string) error { return unix.Mkfifo(filepath.Join(dir, "0.log"), 0o600) },
		},
		{
			name: "FIFO as parent", log: "web/0.log",
			plant: func(dir, _ string) error { return unix.Mkfifo(filepath.Join(dir, "web"), 0o600) },
		},
		{
			name: "directory", log: "0.log", class: errdefs.IsFailedPrecondition,
			plant: func(dir, _ string) error { return os.Mkdir(filepath.Join(dir, "0.log"), 0o700) },
		},
		{
			name: "socket", log: "0.log", class: errdefs.IsFailedPrecondition,
			plant: func(dir, _ string) error {
				l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "0.log")})
				if err != nil {
					return err
				}
				l.SetUnlinkOnClose(false)
				return l.Close()
			},
		},
		{
			name: "device", log: "0.log", class: errdefs.IsFailedPrecondition,
			plant: func(dir, _ string) error {
				return unix.Mknod(filepath.Join(dir, "0.log"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3)))
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, outside := t.TempDir(), t.TempDir()
			canary := filepath.Join(outside, "canary")
			if err := os.WriteFile(canary, []byte("host"), 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.plant != nil {
				if err := tt.plant(dir, outside); errors.Is(err, unix.EPERM) {
					t.Skip("creating a device needs CAP_MKNOD")
				} else if err != nil {
					t.Fatal(err)
				}
			}
			w, err := Open(Destination{Dir: dir, Name: tt.log}, nil)
			if err == nil {
				w.Close()
				t.Fatal("opened")
			}
			if tt.class != nil && !tt.class(err) {
				t.Errorf("error %v is of the wrong class", err)
			}
			entries, err := os.ReadDir(outside)
			if err != nil || len(entries) != 1 {
				t.Errorf("outside the log directory: %v, %v; want only the canary", entries, err)
			}
			if got, _ := os.ReadFile(canary); string(got) != "host" {
				t.Errorf("canary has %q", got)
			}
		})
	}
}

func TestOpenAppends(t *testing.T) {
	dir := t.TempDir()
	for _, line := range []string{"first\n", "second\n"} {
		w, err := Open(Destination{Dir: dir, Name: "0.log"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		write(t, w.Output(Stdout), line)
		w.Close()
	}
	if got := streamOf(readRecords(t, filepath.Join(dir, "0.log")), "stdout"); got != "first\nsecond\n" {
		t.Errorf("log has %q", got)
	}
}

// TestOpenAfterTornRecord continues a log whose last writer was killed within a record: the first
// new record must start on a new line.
func TestOpenAfterTornRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte("2026-01-02T03:04:05Z stdout F half"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, open(t, Destination{Name: path}, nil).Output(Stdout), "next\n")
	if got := streamOf(readRecords(t, path), "stdout"); got != "half\nnext\n" {
		t.Errorf("log has %q", got)
	}
}

// TestFullDisk fills a file system with the log, frees space, and continues to write.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mounting a small tmpfs needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 32<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	var reports []error
	path := filepath.Join(dir, "0.log")
	w := open(t, Destination{Name: path}, func(err error) { reports = append(reports, err) })
	s := w.Output(Stdout)
	const all = 100
	for range all {
		write(t, s, strings.Repeat("x", 999)+"\n")
	}
	if len(reports) != 1 || !errors.Is(reports[0], unix.ENOSPC) {
		t.Errorf("reported %v, want one ENOSPC", reports)
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	write(t, s, "room again\n") // on a new line after a partial record
	records := readRecords(t, path)
	marker, last := records[len(records)-2], records[len(records)-1]
	if last.content != "room again" {
		t.Errorf("last record has %q", last.content)
	}
	// The partial record is in the file and counts as lost.
	var whole int
	for _, r := range records[:len(records)-2] {
		if len(r.content) == 999 {
			whole++
		}
	}
	if whole == 0 {
		t.Error("nothing was written while there was room")
	}
	want := fmt.Sprintf("containerd-lite: %d records of this log are lost: it could not be written", all-whole)
	if marker.stream != Stderr || marker.content != want {
		t.Errorf("marker %s %q, want %q", marker.stream, marker.content, want)
	}
}
