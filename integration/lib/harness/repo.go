// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// benchPrefix is the name prefix of every bench's root; the leak check recognizes other benches by
// it.
const benchPrefix = "lite-bench-"

// Repo is the checkout whose bin/ and .tools/ a bench uses.
type Repo string

// FindRepo returns the checkout that contains the working directory.
func FindRepo() (Repo, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "integration", "tools.sh")); err == nil {
			return Repo(dir), nil
		}
	}
	return "", fmt.Errorf("the working directory is not in a checkout of containerd-lite: %w", fs.ErrNotExist)
}

// Bin returns the path of a program built by `make build`.
func (r Repo) Bin(name string) string { return filepath.Join(string(r), "bin", name) }

// Tool returns a path under .tools, which `make tools` fills.
func (r Repo) Tool(elem ...string) string {
	return filepath.Join(append([]string{string(r), ".tools"}, elem...)...)
}

// bin returns the directory of containerd-lite and its shim.
func (r Repo) bin(o Options) string {
	if o.Bin != "" && o.Daemon != Stock {
		return o.Bin
	}
	return r.Bin("")
}

// stock returns the directory of stock containerd and its shim.
func (r Repo) stock(o Options) string {
	if o.Bin != "" && o.Daemon == Stock {
		return o.Bin
	}
	return r.Tool("bin")
}

// path returns the PATH of a bench's programs: the daemon finds runc and both shims there.
func (r Repo) path(o Options) string {
	return r.stock(o) + ":" + r.Tool("bin") + ":" + r.bin(o) + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin"
}

// Missing returns the requirements of a bench with these options that this host does not meet, in
// words for a user.
func (r Repo) Missing(o Options) []string {
	o = o.WithDefaults()
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	tools := []string{"bin/runc", "bin/crictl", "cni/bridge", "debian", "images/pause"}
	if o.Daemon == Stock {
		tools = append(tools, "bin/containerd")
	}
	for _, name := range tools {
		if _, err := os.Stat(r.Tool(name)); err != nil {
			missing = append(missing, ".tools/"+name+" (make tools)")
		}
	}
	if o.Daemon == Crio {
		missing = append(missing, r.missingForCrio()...)
	}
	need := map[string]bool{o.lite(): o.Daemon == Lite, "containerd-shim-lite-v2": o.Handler == HandlerLite}
	for name, needed := range need {
		if _, err := os.Stat(filepath.Join(r.bin(o), name)); needed && err != nil {
			missing = append(missing, filepath.Join(r.bin(o), name)+" (make build race)")
		}
	}
	commands := []string{"iptables-save", "ip"}
	if o.CgroupDriver == Systemd {
		commands = append(commands, "systemctl")
	}
	if o.Runtime != "runc" {
		commands = append(commands, o.Runtime)
	}
	if o.Measure.Trace || o.Inject != "" {
		commands = append(commands, "strace")
	}
	for _, name := range commands {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name+" in PATH")
		}
	}
	return missing
}

// LockMachine waits until no other test on this host has a bench: critest uses fixed ports, and a
// leak check would find the pods of another bench. Closing the file releases the lock.
func LockMachine() (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), benchPrefix+"lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}
