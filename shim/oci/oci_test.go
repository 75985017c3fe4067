// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs"
	runc "github.com/containerd/go-runc"
)

func noHold() func() { return func() {} }

// scriptRuntime returns a runtime that is a shell script. The script has the command line in "$@"
// and the path of its log in $log.
func scriptRuntime(t *testing.T, script string) *Runtime {
	t.Helper()
	path := filepath.Join(t.TempDir(), "runtime")
	script = "#!/bin/sh\nset -- \"$@\"\nfor a; do [ \"$prev\" = --log ] && log=$a; prev=$a; done\n" + script
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return New(&options.Options{BinaryName: path, Root: t.TempDir(), SystemdCgroup: true}, "ns", "", noHold)
}

func TestCommandLine(t *testing.T) {
	out := filepath.Join(t.TempDir(), "args")
	r := scriptRuntime(t, "echo \"$@\" >"+out)
	if err := r.Start(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got := string(data)
	for _, want := range []string{"--root " + filepath.Join(r.opts.Root, "ns"), "--systemd-cgroup", "--log-format json", "start web"} {
		if !strings.Contains(got, want) {
			t.Errorf("command line = %q, want %q in it", got, want)
		}
	}
}

// TestErrorFromLog checks that the error has the last message of level error in the log.
func TestErrorFromLog(t *testing.T) {
	r := scriptRuntime(t, `
echo '{"level":"error","msg":"first"}' >>$log
echo '{"level":"warning","msg":"careful"}' >>$log
echo '{"level":"error","msg":"no space left"}' >>$log
echo '{"level":"info","msg":"bye"}' >>$log
exit 1`)
	err := r.Start(t.Context(), "web")
	if err == nil || err.Error() != "OCI runtime start failed: no space left" {
		t.Errorf("error = %v", err)
	}
}

// TestLogIsKept checks that the logs of the runtime are appended to the file in the bundle, and
// that a probe that keeps failing does not fill the disk.
func TestLogIsKept(t *testing.T) {
	r := scriptRuntime(t, `printf '{"level":"error","msg":"%1000s"}\n' "$prev" >>$log; exit 1`)
	r.log = filepath.Join(t.TempDir(), "log.json")
	for range 2 * maxLog / 1000 {
		if err := r.Start(t.Context(), "web"); err == nil {
			t.Fatal("no error")
		}
	}
	if err := r.Start(t.Context(), "last"); err == nil {
		t.Fatal("no error")
	}
	kept, err := os.ReadFile(r.log)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(lastError(kept)); got != "last" {
		t.Errorf("last entry = %q, want that of the last command", got)
	}
	if len(kept) > 2*maxLog {
		t.Errorf("the log has %d bytes, want at most %d", len(kept), 2*maxLog)
	}
}

// TestErrorsOfCrun checks crun 1.8.1, which writes its errors to the log and to standard error, and
// has no features command.
func TestErrorsOfCrun(t *testing.T) {
	r := scriptRuntime(t, `
if [ "$prev" = features ]; then
	echo "unknown command features" >&2
	exit 1
fi
echo '{"msg":"unknown version specified","level":"error","time":"2026-11-28T00:59:20.738811Z"}' >>$log
echo "unknown version specified" >&2
exit 1`)
	if err := r.Start(t.Context(), "web"); err == nil || err.Error() != "OCI runtime start failed: unknown version specified" {
		t.Errorf("error = %v", err)
	}
	if features, err := r.Features(t.Context()); err == nil {
		t.Errorf("features = %v", features)
	}
}

// TestHugeLog checks that a large log does not make the shim read more than maxLog.
func TestHugeLog(t *testing.T) {
	r := scriptRuntime(t, `
head -c 3000000 /dev/zero | tr '\0' x >>$log
echo >>$log
printf '{"level":"error","msg":"' >>$log
head -c 9000 /dev/zero | tr '\0' y >>$log
echo '"}' >>$log
exit 1`)
	err := r.Start(t.Context(), "web")
	if err == nil || strings.Count(err.Error(), "y") != maxMessage || strings.Contains(err.Error(), "xx") {
		t.Errorf("error of %d bytes, want a message of %d bytes", len(err.Error()), maxMessage)
	}
}

func TestErrorWithoutLog(t *testing.T) {
	r := scriptRuntime(t, "echo dreadful >&2; exit 1")
	if err := r.Start(t.Context(), "web"); err == nil || !strings.Contains(err.Error(), "dreadful") {
		t.Errorf("error = %v, want the output of the runtime", err)
	}
}

func TestMissingRuntime(t *testing.T) {
	for _, name := range []string{"no-such-runtime", "/no/such/runtime"} {
		r := New(&options.Options{BinaryName: name, Root: t.TempDir()}, "ns", "", noHold)
		for call, err := range map[string]error{"available": r.Available(), "start": r.Start(t.Context(), "web")} {
			if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "BinaryName") {
				t.Errorf("%s of %s: %v, want failed precondition with a hint", call, name, err)
			}
		}
	}
}

func TestCanceledStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := scriptRuntime(t, "exit 0").Start(ctx, "web"); !errdefs.IsCanceled(err) {
		t.Errorf("error = %v, want canceled", err)
	}
}

func TestDelete(t *testing.T) {
	r := scriptRuntime(t, "exit 1")
	if err := r.Delete(t.Context(), "web", false); err != nil {
		t.Errorf("container without state: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(r.cli.Root, "web"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(t.Context(), "web", false); err == nil {
		t.Error("no error for a container that was not deleted")
	}
}

func TestHoldCoversCommand(t *testing.T) {
	held := 0
	r := scriptRuntime(t, "exit 0")
	r.hold = func() func() {
		held++
		return func() { held-- }
	}
	err := r.call(t.Context(), "probe", func(*runc.Runc) error {
		if held != 1 {
			t.Errorf("%d holds during the command, want 1", held)
		}
		return nil
	})
	if err != nil || held != 0 {
		t.Errorf("%v, %d holds after the command, want 0", err, held)
	}
}
