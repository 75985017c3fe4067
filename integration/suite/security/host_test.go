// SPDX-License-Identifier: Apache-2.0

package security

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/canary"
	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// Attacks by other users of the host, and through its CNI configuration.

// c02 looks for sockets that users other than root can reach.
func c02(a *attack) {
	before, err := canary.AbstractSockets()
	if err != nil {
		a.Fatal(err)
	}
	p := a.pod(quick)
	p.sleeper()
	during, err := canary.AbstractSockets()
	if err != nil || !slices.Equal(before, during) {
		a.Errorf("abstract sockets, which every network namespace of the host reaches: %v, before the pod %v, %v", during, before, err)
	}
	a.ownSockets()
}

func (a *attack) ownSocket(path string) {
	a.Helper()
	var s, dir unix.Stat_t
	if unix.Lstat(path, &s) != nil || unix.Lstat(filepath.Dir(path), &dir) != nil {
		return // the socket has been removed
	}
	if s.Uid != 0 || s.Gid != 0 || s.Mode&0o007 != 0 {
		a.Errorf("socket %s: mode %o, owner %d:%d", path, s.Mode&0o777, s.Uid, s.Gid)
	}
	if dir.Uid != 0 || dir.Mode&0o022 != 0 {
		a.Errorf("socket %s: others can replace it: its directory has mode %o", path, dir.Mode&0o777)
	}
}

// ownSockets checks that only root can use each socket below the bench's directory.
func (a *attack) ownSockets() {
	a.Helper()
	found := 0
	err := filepath.WalkDir(a.Root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type()&fs.ModeSocket != 0 { // else it may have been removed
			found++
			a.ownSocket(path)
		}
		return nil
	})
	if err != nil || found < 3 {
		a.Errorf("%d sockets, %v: the test proves nothing", found, err)
	}
}

// m01 checks all sockets of the daemon.
func m01(a *attack) {
	info, err := os.Stat(a.Daemon.Socket)
	if err != nil || info.Mode().Perm() != 0o660 {
		a.Errorf("mode of the CRI's socket: %v, %v", info.Mode(), err)
	}
	p := a.pod(quick)
	p.sleeper()
	for _, address := range a.listening() {
		if host, _, err := net.SplitHostPort(address); err != nil || host != "127.0.0.1" && host != "::1" {
			a.Errorf("the daemon listens on %s", address)
		}
	}
}

// listening returns the addresses on which the daemon listens for TCP.
func (a *attack) listening() []string {
	a.Helper()
	inodes := map[string]bool{}
	fds := fmt.Sprintf("/proc/%d/fd", a.Daemon.PID())
	entries, err := os.ReadDir(fds)
	if err != nil {
		a.Fatal(err)
	}
	for _, entry := range entries {
		target, _ := os.Readlink(filepath.Join(fds, entry.Name()))
		inodes[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] = true
	}
	var found []string
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // no IPv6
		}
		for line := range strings.Lines(string(data)) {
			fields := strings.Fields(line)
			if len(fields) > 9 && fields[3] == "0A" && inodes[fields[9]] {
				found = append(found, hexAddress(fields[1]))
			}
		}
	}
	return found
}

// hexAddress parses an address of /proc/net/tcp.
func hexAddress(text string) string {
	host, port, _ := strings.Cut(text, ":")
	var words []byte
	for i := 0; i+8 <= len(host); i += 8 {
		var b [4]byte
		_, _ = fmt.Sscanf(host[i:i+8], "%02x%02x%02x%02x", &b[3], &b[2], &b[1], &b[0])
		words = append(words, b[:]...)
	}
	var number int
	_, _ = fmt.Sscanf(port, "%x", &number)
	return net.JoinHostPort(net.IP(words).String(), fmt.Sprint(number))
}

// c06 has another user of the host access the daemon's directories, which had a mode open to all
// before the start.
func c06(a *attack) {
	dirs := []string{a.Path("root"), a.Path("state"), a.Path("s"), a.Path("root", "io.containerd.grpc.v1.cri")}
	for _, dir := range dirs {
		if err := os.Chmod(dir, 0o755); err != nil && !os.IsNotExist(err) {
			a.Fatal(err)
		}
	}
	if err := a.Daemon.Restart(a.ctx); err != nil {
		a.Fatal(err)
	}
	p := a.pod()
	p.sleeper()
	var paths strings.Builder
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error {
			// containerd does not correct the modes of dirs. They contain no secrets.
			if path != dir {
				paths.WriteString(path + "\n")
			}
			if filepath.Base(path) == "rootfs" || filepath.Base(path) == "fs" {
				return fs.SkipDir
			}
			return nil
		})
	}
	cmd := exec.Command("sh", "-c", `while read -r f; do [ ! -r "$f" ] || echo "reads $f"; [ ! -w "$f" ] || echo "writes $f"; done`)
	cmd.Stdin = strings.NewReader(paths.String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.Output()
	if err != nil || len(out) > 0 {
		a.Errorf("another user of the host, %v:\n%.2000s", err, out)
	}
}

// cve202120206 has the CNI configuration name a plugin by a path.
func cve202120206(a *attack) {
	file := filepath.Join(a.Network.ConfDir, "05-evil.conflist")
	proof := a.Path("proof-of-cni")
	a.writeFile(file, []byte(`{"cniVersion":"1.0.0","name":"evil","plugins":[{"type":"../../../../../../../../bin/touch"},{"type":"/bin/sh"}]}`))
	defer func() {
		if err := os.Remove(file); err != nil {
			a.Fatal(err)
		}
		// The removal of the pod completes its rollback.
		if err := harness.Await(harness.After(a.T), func() error { return a.RemovePods(harness.After(a.T)) }); err != nil {
			a.Errorf("remove the pod: %v", err)
		}
	}()
	if err := harness.Await(a.ctx, func() error {
		answer, err := a.Status(a.ctx, &runtimeapi.StatusRequest{Verbose: true})
		if err == nil && !strings.Contains(answer.Info["cniconfig"], "evil") && !strings.Contains(answer.Info["lastCNILoadStatus"], "evil") {
			return fmt.Errorf("the configuration is not loaded yet: %.500v", answer.Info)
		}
		return err
	}); err != nil {
		a.Logf("status: %v", err)
	}
	_, err := a.tryPod(a.podConfig())
	a.refused("a plugin that is a path", err)
	if _, err := os.Stat(proof); err == nil {
		a.Errorf("the plugin ran")
	}
}

// cve20208557 writes to the pod's files, which must not use memory of the host.
func cve20208557(a *attack) {
	p := a.pod()
	before := a.sizeOf(a.Path("state"))
	id := p.sleeper()
	for _, file := range []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/shm/x"} {
		_, err := a.ExecSync(a.ctx, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"sh", "-c", "head -c 100000000 /dev/zero >" + file}})
		if err != nil {
			a.Fatal(err)
		}
	}
	if grown := a.sizeOf(a.Path("state")) - before; grown > 1<<20 {
		a.Errorf("the daemon's state directory, which is in memory, grew by %d bytes", grown)
	}
}
