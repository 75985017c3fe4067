// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// boots returns an image and a command, which is a shell script, to a test. It skips the test
// unless LITE_BOOT=1 is set.
func boots(t *testing.T, script string) (Image, Command) {
	t.Helper()
	if os.Getenv("LITE_BOOT") != "1" {
		t.Skip("LITE_BOOT=1 is not set; make power boots virtual machines")
	}
	checkout := t.TempDir()
	dir := filepath.Join(checkout, "work")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	image, err := filepath.Abs("../../../.tools/vm")
	if err != nil {
		t.Fatal(err)
	}
	return Image(image), Command{Checkout: checkout, Dir: dir, Args: []string{"sh", "-c", script}}
}

// checkNoRuns checks that the run left no directory behind.
func checkNoRuns(t *testing.T, i Image, before []string) {
	t.Helper()
	if now := runs(t, i); len(now) > len(before) {
		t.Errorf("directories of runs: %q, want %q", now, before)
	}
}

func runs(t *testing.T, i Image) []string {
	t.Helper()
	all, err := filepath.Glob(i.path("run-*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestGuestEnds(t *testing.T) {
	image, command := boots(t, "echo hello; pwd; exit 7")
	before := runs(t, image)
	var said bytes.Buffer
	code, err := image.Run(t.Context(), command, &said)
	if err != nil || code != 7 || said.String() != "hello\n/payload/checkout/work\n" {
		t.Errorf("exit code %d, %v, output %q", code, err, &said)
	}
	checkNoRuns(t, image, before)
}

func TestGuestPanics(t *testing.T) {
	image, command := boots(t, "echo c >/proc/sysrq-trigger")
	before := runs(t, image)
	_, err := image.Run(t.Context(), command, io.Discard)
	if !errors.Is(err, errNoResult) || !strings.Contains(err.Error(), "Kernel panic") {
		t.Errorf("error %v, want one with the end of the console", err)
	}
	checkNoRuns(t, image, before)
}

func TestGuestHangs(t *testing.T) {
	image, command := boots(t, "echo up; exec sleep 100000")
	before := runs(t, image)
	errHangs := errors.New("the guest hangs")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	_, err := image.Run(ctx, command, writerFunc(func() { cancel(errHangs) }))
	if !errors.Is(err, errHangs) {
		t.Errorf("error %v", err)
	}
	checkNoRuns(t, image, before)
}

// writerFunc is a writer that calls the function for each Write.
type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

// TestNodeKeepsItsDisk checks that data written and flushed before a power failure is there after
// it.
func TestNodeKeepsItsDisk(t *testing.T) {
	image, command := boots(t, "cat /root/kept; echo kept >/root/kept; sync; echo synced; exec sleep 100000")
	node, err := image.NewNode(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	errCut := errors.New("no power")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var said bytes.Buffer
	_, err = node.Run(ctx, command, io.MultiWriter(&said, writerFunc(func() {
		if strings.HasSuffix(said.String(), "synced\n") {
			cancel(errCut)
		}
	})))
	if !errors.Is(err, errCut) {
		t.Fatalf("error %v, output %q", err, &said)
	}
	said.Reset()
	command.Args = []string{"cat", "/root/kept"}
	if code, err := node.Run(t.Context(), command, &said); err != nil || code != 0 || said.String() != "kept\n" {
		t.Errorf("exit code %d, %v, output %q", code, err, &said)
	}
}
