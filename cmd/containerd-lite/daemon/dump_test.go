// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// unpack returns the files of an archive.
func unpack(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	packed, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for archive := tar.NewReader(packed); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = string(data)
	}
}

// SIGUSR1 goes only to a process that catches it, as the runtime of Go does.
func TestCatches(t *testing.T) {
	if !catches("/proc/self/status", unix.SIGUSR1) {
		t.Error("this process does not catch SIGUSR1")
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	if catches(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid), unix.SIGUSR1) {
		t.Error("sleep catches SIGUSR1")
	}
}

func TestKernelParameters(t *testing.T) {
	got := kernelParameters("ro quiet psi=1 cgroup_enable=memory talos.config=https://u:p@h/?token=t k3os.token=x")
	if want := "ro quiet psi=1 cgroup_enable=memory talos.config=… k3os.token=…"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A part that cannot be read is named, and the others are there. Only the owner can read the
// archive, and no file is overwritten.
func TestWriteDump(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dump.tar.gz")
	parts := []part{
		{"good.txt", func(context.Context) ([]byte, error) { return []byte("text"), nil }},
		{"bad.txt", func(context.Context) ([]byte, error) { return []byte("half"), errors.New("disk failed") }},
		{"large.txt", func(context.Context) ([]byte, error) { return make([]byte, maxPart+1), nil }},
	}
	failed, err := writeDump(t.Context(), path, parts)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"bad.txt: disk failed"}, failed); diff != "" {
		t.Errorf("failed (-want +got):\n%s", diff)
	}
	files := unpack(t, path)
	if n := len(files["containerd-lite/large.txt"]); n != maxPart {
		t.Errorf("large.txt has %d bytes", n)
	}
	delete(files, "containerd-lite/large.txt")
	want := map[string]string{
		"containerd-lite/good.txt": "text", "containerd-lite/bad.txt": "half", "containerd-lite/missing.txt": "bad.txt: disk failed",
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := writeDump(t.Context(), path, parts); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second dump to the same file: %v", err)
	}
}
