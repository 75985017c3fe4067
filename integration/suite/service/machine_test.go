// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

const (
	unit     = "containerd-lite.service"
	config   = "/etc/containerd/config.toml"
	conflist = `{
  "cniVersion": "1.0.0",
  "name": "service",
  "plugins": [
    {"type": "bridge", "bridge": "service0", "isGateway": true,
     "ipam": {"type": "host-local", "ranges": [[{"subnet": "198.18.0.0/22"}]]}}
  ]
}
`
)

// machine is the machine that the test runs on. No other test uses it.
type machine struct {
	repo harness.Repo
}

// newMachine skips the test unless the machine is a disposable guest: the test installs packages
// and stops services.
func newMachine(t *testing.T) machine {
	t.Helper()
	if os.Getenv("LITE_VM") != "1" {
		t.Skip("LITE_VM=1, which allows changes to this machine, is not set: run LITE_VM=1 make vm SUITE=service")
	}
	if err := exec.Command("systemd-detect-virt", "--quiet", "--vm").Run(); err != nil {
		t.Skip("systemd-detect-virt finds no virtual machine")
	}
	if init, err := os.ReadFile("/proc/1/comm"); err != nil || string(init) != "systemd\n" {
		t.Skipf("PID 1 is %q, not systemd", init)
	}
	repo, err := harness.FindRepo()
	if err != nil {
		t.Fatal(err)
	}
	for _, need := range []string{repo.Bin("containerd-lite_*.deb"), repo.Bin("containerd-shim-lite_*.deb"), repo.Tool("packages", "*.deb")} {
		if found, _ := filepath.Glob(need); len(found) == 0 {
			t.Skipf("this host lacks %s (make deb)", need)
		}
	}
	return machine{repo}
}

// run runs a command and returns its output.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// await calls probe until it returns nil.
func await(t *testing.T, probe func() error) {
	t.Helper()
	if err := harness.Await(t.Context(), probe); err != nil {
		t.Fatal(err)
	}
}

// property returns a property of the unit.
func property(t *testing.T, name string) string {
	t.Helper()
	return run(t, "systemctl", "show", "--property="+name, "--value", unit)
}

func mainPID(t *testing.T) int {
	t.Helper()
	pid, err := strconv.Atoi(property(t, "MainPID"))
	if err != nil || pid == 0 {
		t.Fatalf("MainPID %d, %v", pid, err)
	}
	return pid
}

// awaitRestart waits until systemd has started a daemon with another PID than pid, and it is ready.
func awaitRestart(t *testing.T, pid int) {
	t.Helper()
	await(t, func() error {
		state, now := property(t, "ActiveState"), property(t, "MainPID")
		if state != "active" || now == strconv.Itoa(pid) {
			return fmt.Errorf("%s is %s with PID %s, previous PID %d", unit, state, now, pid)
		}
		return nil
	})
}

// journal returns the journal entries of the unit, and of systemd about the unit, since a cursor.
func journal(t *testing.T, cursor string) string {
	t.Helper()
	run(t, "journalctl", "--sync")
	return run(t, "journalctl", "--unit="+unit, "--output=cat", "--after-cursor="+cursor)
}

// cursor returns the cursor of the last journal entry of the unit: --after-cursor needs an entry
// that matches the filter.
func cursor(t *testing.T) string {
	t.Helper()
	run(t, "journalctl", "--sync")
	_, at, found := strings.Cut(run(t, "journalctl", "--unit="+unit, "--lines=1", "--show-cursor"), "-- cursor: ")
	if !found {
		t.Fatal("the journal has no cursor")
	}
	return at
}

// install installs Debian packages from files, without a network.
func install(t *testing.T, patterns ...string) {
	t.Helper()
	args := []string{"--install"}
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		args = append(args, found[0])
	}
	run(t, "dpkg", args...)
}

// installOurs installs the packages under test.
func (m machine) installOurs(t *testing.T) {
	t.Helper()
	install(t, m.repo.Bin("containerd-shim-lite_*.deb"), m.repo.Bin("containerd-lite_*.deb"))
}

// packageState returns the state of a package in dpkg, such as "install ok installed".
func packageState(name string) string {
	out, err := exec.Command("dpkg-query", "--show", "--showformat=${Status}", name).Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// prepare configures a network for pods, and starts a registry that has busybox and nginx. It
// returns the reference of busybox in that registry.
func (m machine) prepare(t *testing.T) (busybox string) {
	t.Helper()
	images, err := image.Catalog(m.repo.Tool("debian"), m.repo.Tool("images"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	write(t, "/etc/cni/net.d/10-service.conflist", conflist)
	address := strings.TrimPrefix(server.URL, "http://")
	for _, known := range []string{image.Busybox, image.Nginx, image.Pause} {
		host, repository, _ := strings.Cut(known, "/")
		write(t, filepath.Join("/etc/containerd/certs.d", host, "hosts.toml"), fmt.Sprintf("[host.%q]\n", server.URL))
		ref, err := name.ParseReference(address+"/"+repository, name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref, images[known]); err != nil {
			t.Fatal(err)
		}
		if known == image.Busybox {
			busybox = ref.String()
		}
	}
	return busybox
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
