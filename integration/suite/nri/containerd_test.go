// SPDX-License-Identifier: Apache-2.0

package nri

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// testSocket is the socket to which the tests of containerd connect their plugins.
const testSocket = "/var/run/nri-test.sock"

// expectedSkips are the tests of containerd that skip on some machines, with what they miss.
var expectedSkips = map[string]string{
	"TestNriLinuxMemsetAdjustment":       "two memory nodes",
	"TestNriLinuxMemsetAdjustmentUpdate": "two memory nodes",
	"TestNriLinuxCpusetAdjustment":       "two CPUs",
	"TestNriLinuxCpusetAdjustmentUpdate": "two CPUs",
}

// TestOfContainerd runs the NRI tests of containerd's own suite (integration/nri_test.go) on both
// daemons.
func TestOfContainerd(t *testing.T) {
	for _, daemon := range []string{harness.Lite, harness.Stock} {
		t.Run(daemon, func(t *testing.T) { runTheirs(t, daemon) })
	}
}

var outcome = regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (\S+)`)

func runTheirs(t *testing.T, daemon string) {
	bench := harness.StartWith(t, harness.Options{Daemon: daemon, NRI: harness.NRI{Enabled: true}})
	bench.Client(t, image.Busybox)
	if err := os.Symlink(bench.Path("nri.sock"), testSocket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(testSocket) })
	supervise(t, bench)
	images := bench.Path("images.toml")
	if err := os.WriteFile(images, fmt.Appendf(nil, "BusyBox = %q\n", image.Busybox), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bench.Tool("containerd-integration"),
		"-test.v", "-test.run", "^TestNri|^TestUpdatePodSandboxWithRestart$",
		"-cri-endpoint", "unix://"+bench.Daemon.Socket, "-image-list", images)
	cmd.Dir = bench.Root
	cmd.Env = append(os.Environ(), "PATH="+adapters(t, bench)+":"+os.Getenv("PATH"))
	output, err := cmd.CombinedOutput()
	results := outcome.FindAllStringSubmatch(string(output), -1)
	var passed []string
	for _, r := range results {
		t.Run(r[2], func(t *testing.T) {
			switch missing, known := expectedSkips[r[2]]; {
			case r[1] == "PASS":
				passed = append(passed, r[2])
			case r[1] == "SKIP" && known:
				t.Skipf("the machine has no %s", missing)
			default:
				t.Errorf("%s\n%s", r[1], about(string(output), r[2]))
			}
		})
	}
	if len(results) != 15 {
		t.Errorf("%d tests ran (%v), want 15:\n%s", len(results), err, output)
	}
	fmt.Printf("report: containerd's NRI tests on %-10s %d passed of %d\n", daemon, len(passed), len(results))
}

// about returns the output of one test.
func about(output, test string) string {
	_, output, _ = strings.Cut(output, "=== RUN   "+test+"\n")
	output, _, _ = strings.Cut(output, "\n=== RUN")
	return output
}

// supervise starts the daemon again when it ends: the tests stop it and expect a service manager.
func supervise(t *testing.T, bench *harness.Bench) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-bench.Daemon.Ended():
			}
			if err := bench.Daemon.Restart(t.Context()); err != nil {
				t.Errorf("restart: %v", err)
				return
			}
			if err := writePID(bench); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}

func pidFile(bench *harness.Bench) string { return bench.Path("daemon.pid") }

func writePID(bench *harness.Bench) error {
	return os.WriteFile(pidFile(bench), fmt.Appendf(nil, "%d\n", bench.Daemon.PID()), 0o600)
}

// adapters returns a directory with programs in place of pkill and pidof. The tests find the daemon
// by its name; these find the one of the bench, and pidof does not find the one after a restart.
func adapters(t *testing.T, bench *harness.Bench) string {
	t.Helper()
	if err := writePID(bench); err != nil {
		t.Fatal(err)
	}
	dir := bench.Path("adapters")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := pidFile(bench)
	for name, script := range map[string]string{
		"pkill": "cp " + file + " " + file + ".old && kill \"$1\" \"$(cat " + file + ")\"",
		"pidof": "pid=$(cat " + file + ".old) && kill -0 \"$pid\" 2>/dev/null && echo \"$pid\"",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	return dir
}
