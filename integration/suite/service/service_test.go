// SPDX-License-Identifier: Apache-2.0

// Package service tests our Debian packages and the systemd unit on a whole machine. TestService:
// the packages replace Debian's containerd, restarts and crashes of the daemon do not disturb pods,
// systemd detects a daemon that hangs, and a removal leaves nothing behind. TestReboot and
// TestPowerCut: a reboot or a power failure neither leaks nor loses anything.
//
// TestService installs and removes packages and stops services of the machine that it runs on, so
// it is skipped except in a virtual machine with LITE_VM=1. Each part depends on the one before.
// The other two tests run on a host, boot a guest several times and run a part of TestPart in it
// (guest_test.go).
package service

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestService(t *testing.T) {
	m := newMachine(t)
	busybox := m.prepare(t)
	n := connect(t)
	var pods []pod
	for _, part := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"Debian's containerd is replaced", func(t *testing.T) { replaceContainerd(t, m) }},
		{"pods run", func(t *testing.T) { pods = runPods(t, n) }},
		{"check finds no error", func(t *testing.T) { run(t, "containerd-lite", "check") }},
		{"restart", func(t *testing.T) { restart(t, n, pods) }},
		{"reload", func(t *testing.T) { reload(t, n, pods) }},
		{"reload of a wrong config", func(t *testing.T) { reloadWrong(t, n, pods) }},
		{"debug dump has the journal", dumped},
		{"SIGSTOP", func(t *testing.T) { stopped(t, n, pods) }},
		{"kill -9", func(t *testing.T) { killed(t, n, pods) }},
		{"stop and start", func(t *testing.T) { stopAndStart(t, n, pods) }},
		{"upgrade", func(t *testing.T) { upgrade(t, m, n, pods) }},
		{"removed with pods and installed again", func(t *testing.T) { reinstall(t, m, n, pods) }},
		{"removed", func(t *testing.T) { remove(t, n, pods) }},
		{"Debian's containerd comes back", func(t *testing.T) { comeBack(t, m) }},
		{"the shim alone with Debian's containerd", func(t *testing.T) { shimAlone(t, m, busybox) }},
	} {
		if !t.Run(part.name, part.test) {
			t.Fatalf("%s: the remaining parts depend on this one", part.name)
		}
	}
}

// replaceContainerd installs our packages over Debian's containerd and keeps its config.
func replaceContainerd(t *testing.T, m machine) {
	install(t, m.repo.Tool("packages", "runc_*.deb"), m.repo.Tool("packages", "containerd_*.deb"),
		m.repo.Tool("packages", "containernetworking-plugins_*.deb"))
	if out := run(t, "systemctl", "is-active", "containerd"); out != "active" {
		t.Fatalf("Debian's containerd is %s", out)
	}
	given := read(t, config)
	m.installOurs(t)
	if state := packageState("containerd"); strings.HasSuffix(state, " installed") {
		t.Errorf("Debian's package is %s", state)
	}
	if now := read(t, config); now != given {
		t.Errorf("config.toml changed to\n%s, from\n%s", now, given)
	}
	for _, name := range []string{unit, "containerd.service"} {
		if id := run(t, "systemctl", "show", "--property=Id", "--value", name); id != unit {
			t.Errorf("%s is %s", name, id)
		}
		if state := run(t, "systemctl", "is-active", name); state != "active" {
			t.Errorf("%s is %s", name, state)
		}
	}
	run(t, "systemctl", "is-enabled", unit)
	if version := run(t, "/usr/bin/containerd", "--version"); !strings.HasPrefix(version, "containerd-lite ") {
		t.Errorf("containerd --version: %s", version)
	}
	run(t, "/usr/bin/ctr", "version")
	run(t, "/usr/bin/containerd-shim-runc-v2", "-v")
}

func runPods(t *testing.T, n node) []pod {
	pods := n.startPods(t, count)
	n.check(t, pods)
	return pods
}

func restart(t *testing.T, n node, pods []pod) {
	pid := mainPID(t)
	run(t, "systemctl", "restart", unit)
	if now := mainPID(t); now == pid {
		t.Errorf("the daemon still has PID %d", pid)
	}
	n.check(t, pods)
}

func reload(t *testing.T, n node, pods []pod) {
	pid, at, given := mainPID(t), cursor(t), read(t, config)
	write(t, config, given+"\n[debug]\n  level = \"debug\"\n")
	run(t, "systemctl", "reload", unit)
	awaitJournal(t, at, "the log level is debug")
	write(t, config, given)
	run(t, "systemctl", "reload", unit)
	awaitJournal(t, at, "the log level is info")
	if now := mainPID(t); now != pid {
		t.Errorf("PID of the daemon: %d, want %d", now, pid)
	}
	n.check(t, pods)
}

// reloadWrong checks that systemctl fails, that the journal has the reason, and that the daemon
// continues to run.
func reloadWrong(t *testing.T, n node, pods []pod) {
	pid, at, given := mainPID(t), cursor(t), read(t, config)
	write(t, config, "version = 3\n[plugins.'io.containerd.cri.v1.images']\nsnapshotter = ''\n")
	if err := exec.Command("systemctl", "reload", unit).Run(); err == nil {
		t.Error("the reload did not fail")
	}
	awaitJournal(t, at, config+":3: ")
	write(t, config, given)
	if now := mainPID(t); now != pid {
		t.Errorf("PID of the daemon: %d, want %d", now, pid)
	}
	n.check(t, pods)
}

// dumped checks that an archive for a bug report has the stacks of the shims, which they write to
// the journal.
func dumped(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dump.tar.gz")
	run(t, "containerd-lite", "debug", "dump", file)
	if text := run(t, "tar", "-xzOf", file, "containerd-lite/journal.txt"); !strings.Contains(text, "CRI call") || !strings.Contains(text, "goroutine ") {
		t.Errorf("the journal in the archive has no calls or no stacks:\n%.2000s", text)
	}
	if missing := run(t, "tar", "-xzOf", file, "containerd-lite/missing.txt"); missing != "" {
		t.Errorf("missing in the archive: %s", missing)
	}
}

// stopped checks that the watchdog detects a stopped daemon, and that the journal has its
// goroutines.
func stopped(t *testing.T, n node, pods []pod) {
	pid, at := mainPID(t), cursor(t)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	awaitRestart(t, pid)
	awaitJournal(t, at, "Watchdog timeout")
	awaitJournal(t, at, "SIGABRT: abort")
	awaitJournal(t, at, "daemon.(*watchdog).run") // one of the goroutines
	n.check(t, pods)
}

func killed(t *testing.T, n node, pods []pod) {
	pid, at := mainPID(t), cursor(t)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitRestart(t, pid)
	awaitJournal(t, at, "code=killed, status=9/KILL")
	n.check(t, pods)
}

func stopAndStart(t *testing.T, n node, pods []pod) {
	run(t, "systemctl", "stop", unit)
	checkProcesses(t, pods)
	run(t, "systemctl", "start", unit)
	n.check(t, pods)
}

func upgrade(t *testing.T, m machine, n node, pods []pod) {
	pid := mainPID(t)
	m.installOurs(t)
	if now := mainPID(t); now == pid {
		t.Error("the daemon was not restarted")
	}
	n.check(t, pods)
}

// reinstall checks that pods survive while none of our packages is installed, and that the daemon
// recovers them.
func reinstall(t *testing.T, m machine, n node, pods []pod) {
	run(t, "dpkg", "--remove", "containerd-lite", "containerd-shim-lite")
	checkProcesses(t, pods)
	m.installOurs(t)
	n.check(t, pods)
}

// remove checks that a removal leaves only the data directory, which also belongs to containerd.
func remove(t *testing.T, n node, pods []pod) {
	n.removePods(t, pods)
	answer, err := n.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{})
	if err != nil || len(answer.Items) > 0 {
		t.Errorf("pods %v, %v", answer, err)
	}
	files := strings.Fields(run(t, "dpkg", "--listfiles", "containerd-lite", "containerd-shim-lite"))
	given := read(t, config)
	run(t, "dpkg", "--remove", "containerd-lite", "containerd-shim-lite")
	run(t, "dpkg", "--purge", "containerd-lite", "containerd-shim-lite")
	awaitNoShims(t)

	for _, path := range files {
		if info, err := os.Lstat(path); err == nil && !info.IsDir() {
			t.Errorf("%s was left behind", path)
		}
	}
	if now := read(t, config); now != given {
		t.Errorf("config.toml changed to\n%s, from\n%s", now, given)
	}
	for _, pattern := range []string{
		"/etc/systemd/system/containerd*", "/etc/systemd/system/*/containerd-lite*", "/var/lib/systemd/deb-systemd-helper-*/*containerd-lite*",
		"/var/lib/systemd/deb-systemd-helper-*/*/containerd-lite*", "/var/lib/dpkg/info/containerd-*lite*", "/usr/share/doc/containerd-*lite*",
		"/run/netns/*", "/run/containerd/io.containerd.runtime.v2.task/*/*", "/run/containerd/s/*",
	} {
		if left, err := filepath.Glob(pattern); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
	if state := property(t, "LoadState"); state != "not-found" {
		t.Errorf("%s is %s", unit, state)
	}
	for line := range strings.Lines(read(t, "/proc/self/mountinfo")) {
		if strings.Contains(line, " /run/containerd") || strings.Contains(line, " /var/lib/containerd") || strings.Contains(line, " /run/netns/") {
			t.Errorf("left behind: mount %s", line)
		}
	}
}

// comeBack checks that the alias of our unit does not shadow Debian's unit.
func comeBack(t *testing.T, m machine) {
	install(t, m.repo.Tool("packages", "containerd_*.deb"))
	if path := run(t, "systemctl", "show", "--property=FragmentPath", "--value", "containerd.service"); !strings.HasSuffix(path, "/lib/systemd/system/containerd.service") {
		t.Errorf("containerd.service is %s", path)
	}
	if version := run(t, "/usr/bin/containerd", "--version"); !strings.Contains(version, "1.6.") {
		t.Errorf("containerd --version: %s", version)
	}
}

// shimAlone checks that the shim's package works with another containerd.
func shimAlone(t *testing.T, m machine, busybox string) {
	install(t, m.repo.Bin("containerd-shim-lite_*.deb"))
	run(t, "/usr/bin/ctr", "images", "pull", "--plain-http", busybox)
	if said := run(t, "/usr/bin/ctr", "run", "--rm", "--runtime", "io.containerd.lite.v2", busybox, "alone", "echo", "hello"); said != "hello" {
		t.Errorf("output of the container: %q", said)
	}
	awaitNoShims(t)
}

// awaitJournal waits for a text in the journal.
func awaitJournal(t *testing.T, cursor, text string) {
	t.Helper()
	await(t, func() error {
		if said := journal(t, cursor); !strings.Contains(said, text) {
			return fmt.Errorf("the journal does not contain %q:\n%s", text, said)
		}
		return nil
	})
}

// awaitNoShims waits until no shim runs.
func awaitNoShims(t *testing.T) {
	t.Helper()
	await(t, func() error {
		running, err := shims()
		if err == nil && len(running) > 0 {
			err = fmt.Errorf("shims run: %s", running)
		}
		return err
	})
}

// shims returns the directories in /proc of the shims that run.
func shims() (running []string, err error) {
	programs, err := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range programs {
		if program, err := os.Readlink(link); err == nil && strings.HasPrefix(program, "/usr/bin/containerd-shim") {
			running = append(running, filepath.Dir(link))
		}
	}
	return running, err
}
