// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/errdefs"
	"github.com/urfave/cli/v3"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/regular"
	"github.com/containerd-lite/containerd-lite/plugin"
	"github.com/containerd-lite/containerd-lite/plugin/check"
)

const (
	// partTimeout bounds each part of a dump, and maxPart its size in bytes.
	partTimeout = 10 * time.Second
	maxPart     = 16 << 20
	// journalLines is how many lines of the journal a dump has.
	journalLines = 5000
)

// debugCommand returns the command for bug reports.
func debugCommand() *cli.Command {
	return &cli.Command{
		Name:  "debug",
		Usage: "Collect what a bug report needs",
		Commands: []*cli.Command{{
			Name: "dump",
			Usage: "Write an archive: stacks of the daemon and the shims, pods and containers, config without credentials, " +
				"the result of `check`, versions, the last lines of the journal",
			ArgsUsage: "[FILE]",
			Action: func(ctx context.Context, cmd *cli.Command) error {
				path := cmd.Args().First()
				if path == "" {
					path = "containerd-lite-" + time.Now().UTC().Format("20060102T150405Z") + ".tar.gz"
				}
				failed, err := writeDump(ctx, path, dumpParts(cmd))
				if err != nil {
					return err
				}
				for _, line := range failed {
					fmt.Fprintln(cmd.Root().Writer, "missing:", line)
				}
				fmt.Fprintln(cmd.Root().Writer, "wrote", path, "(read it before you publish it: it has names of pods, images and registries)")
				return nil
			},
		}},
	}
}

// part is a file of a dump.
type part struct {
	name string
	read func(ctx context.Context) ([]byte, error)
}

// dumpParts returns the parts of a dump in the order in which they are read: the shims log their
// stacks before the journal is read.
func dumpParts(cmd *cli.Command) []part {
	parts := []part{
		{"version.txt", func(context.Context) ([]byte, error) {
			return fmt.Appendf(nil, "%s %s %s\n", version.Package, version.Version, version.Revision), nil
		}},
		{"host.txt", hostFacts},
	}
	for dir := range shimDirs("/") {
		parts = append(parts, part{"shims/" + filepath.Base(dir) + ".txt", func(context.Context) ([]byte, error) { return shimFacts(dir) }})
	}
	daemon := func(name string, ask func(ctx context.Context, conn grpc.ClientConnInterface) ([]byte, error)) part {
		return part{name, func(ctx context.Context) ([]byte, error) { return askDaemon(ctx, cmd, ask) }}
	}
	return append(parts,
		daemon("stacks.txt", plugin.GetStacks),
		daemon("records.json", plugin.GetRecords),
		daemon("status.json", func(ctx context.Context, conn grpc.ClientConnInterface) ([]byte, error) {
			now, err := plugin.GetStatus(ctx, conn, "")
			return indent(now, err)
		}),
		daemon("config.json", shownConfig),
		part{"check.json", func(ctx context.Context) ([]byte, error) { return indent(examineNode(ctx, cmd, true), nil) }},
		part{"journal.txt", journal},
	)
}

// writeDump writes an archive that only its owner can read. It returns a line for each part that
// could not be read, and writes the same lines to missing.txt in the archive.
func writeDump(ctx context.Context, path string, parts []part) (failed []string, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	packed := gzip.NewWriter(f)
	archive := tar.NewWriter(packed)
	add := func(name string, data []byte) error {
		header := &tar.Header{Name: "containerd-lite/" + name, Mode: 0o600, Size: int64(len(data)), ModTime: time.Now()}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err := archive.Write(data)
		return err
	}
	for _, p := range parts {
		data, err := readPart(ctx, p)
		if err != nil {
			failed = append(failed, p.name+": "+err.Error())
		}
		if err := add(p.name, data[:min(len(data), maxPart)]); err != nil {
			return nil, err
		}
	}
	if err := add("missing.txt", []byte(strings.Join(failed, "\n"))); err != nil {
		return nil, err
	}
	for _, c := range []io.Closer{archive, packed, f} {
		if err := c.Close(); err != nil {
			return nil, err
		}
	}
	return failed, nil
}

// readPart reads a part, but does not wait longer than partTimeout: a file system may not answer.
func readPart(ctx context.Context, p part) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	guard.Go(ctx, nil, "read "+p.name, func() {
		data, err := p.read(ctx)
		done <- result{data, err}
	})
	select {
	case r := <-done:
		return r.data, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func askDaemon(ctx context.Context, cmd *cli.Command, ask func(ctx context.Context, conn grpc.ClientConnInterface) ([]byte, error)) ([]byte, error) {
	conn, err := connect(ctx, cmd)
	if err != nil {
		return nil, err
	}
	defer conn.close()
	return ask(ctx, conn)
}

// shownConfig returns the config as `crictl info` shows it, which is without credentials.
func shownConfig(ctx context.Context, conn grpc.ClientConnInterface) ([]byte, error) {
	var answer runtimeapi.StatusResponse
	err := conn.Invoke(ctx, runtimeapi.RuntimeService_Status_FullMethodName, &runtimeapi.StatusRequest{Verbose: true}, &answer)
	info := answer.GetInfo()
	// CNI configurations can have tokens.
	delete(info, "cniconfig")
	shown := map[string]json.RawMessage{}
	for key, text := range info {
		if !json.Valid([]byte(text)) {
			text = strconv.Quote(text)
		}
		shown[key] = json.RawMessage(text)
	}
	return indent(map[string]any{"conditions": answer.GetStatus(), "handlers": answer.GetRuntimeHandlers(), "info": shown}, err)
}

func indent(value any, err error) ([]byte, error) {
	var out bytes.Buffer
	if err == nil {
		err = encode(&out, value)
	}
	return out.Bytes(), err
}

// hostFacts returns files of /proc and /etc that describe the node: the kernel, the distribution,
// mounts, and the use of memory, CPU, I/O and file descriptors.
func hostFacts(context.Context) ([]byte, error) {
	var out bytes.Buffer
	for _, file := range []string{
		"/proc/version", "/etc/os-release", "/proc/uptime", "/proc/loadavg", "/proc/meminfo",
		"/proc/pressure/cpu", "/proc/pressure/io", "/proc/pressure/memory", "/proc/filesystems", "/proc/cgroups",
		"/proc/sys/fs/file-nr", "/proc/sys/kernel/pid_max", "/proc/self/mountinfo",
	} {
		fmt.Fprintf(&out, "==> %s\n", file)
		data, err := regular.Read(file, maxPart)
		if err != nil {
			fmt.Fprintln(&out, err)
		}
		out.Write(data)
	}
	fmt.Fprintf(&out, "==> /proc/cmdline, values only of some parameters\n")
	data, err := regular.Read("/proc/cmdline", maxPart)
	fmt.Fprintln(&out, kernelParameters(string(data)), err)
	return out.Bytes(), nil
}

// shownParameters are the beginnings of the names of kernel parameters whose values are shown.
var shownParameters = []string{"cgroup", "systemd.unified_cgroup_hierarchy", "security", "lsm", "apparmor", "selinux", "psi", "swapaccount", "hugepages"}

// kernelParameters returns the kernel's command line without the values of other parameters: a node
// that boots from the network has its credentials there.
func kernelParameters(line string) string {
	var shown []string
	for _, parameter := range strings.Fields(line) {
		name, _, found := strings.Cut(parameter, "=")
		if found && !slices.ContainsFunc(shownParameters, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			parameter = name + "=…"
		}
		shown = append(shown, parameter)
	}
	return strings.Join(shown, " ")
}

// shimFacts returns the command line, the status and the kernel stack of each thread of a shim, and
// sends it SIGUSR1, at which the shim logs the stacks of its goroutines. SIGUSR1 ends a process
// that does not catch it, such as a shim that is not written in Go, or that is starting: such a
// process is not sent any.
func shimFacts(dir string) ([]byte, error) {
	pid, err := strconv.Atoi(filepath.Base(dir))
	if err != nil {
		return nil, err
	}
	// The pidfd is opened before the name is read again, so that both are of the same process.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if name, err := regular.Read(filepath.Join(dir, "comm"), maxPart); err != nil || !bytes.HasPrefix(name, []byte(shimName)) {
		return nil, fmt.Errorf("the shim has ended: %w", errdefs.ErrNotFound)
	}
	var out bytes.Buffer
	files := []string{filepath.Join(dir, "cmdline"), filepath.Join(dir, "status")}
	threads, _ := filepath.Glob(filepath.Join(dir, "task", "*", "stack")) // it may have ended
	for _, file := range append(files, threads...) {
		data, err := regular.Read(file, maxPart)
		if err != nil {
			fmt.Fprintf(&out, "==> %s: %v\n", file, err)
			continue
		}
		fmt.Fprintf(&out, "==> %s\n%s\n", file, bytes.ReplaceAll(data, []byte{0}, []byte{' '}))
	}
	if !catches(filepath.Join(dir, "status"), unix.SIGUSR1) {
		return out.Bytes(), nil
	}
	return out.Bytes(), unix.PidfdSendSignal(fd, unix.SIGUSR1, nil, 0)
}

// catches reports whether a process catches a signal, by its /proc/<pid>/status.
func catches(status string, signal unix.Signal) bool {
	data, err := regular.Read(status, maxPart)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if mask, found := strings.CutPrefix(line, "SigCgt:"); found {
			caught, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && caught&(1<<(signal-1)) != 0
		}
	}
	return false
}

// journal returns the last lines of the daemon and the shims in systemd's journal.
func journal(ctx context.Context) ([]byte, error) {
	return exec.CommandContext(ctx, "journalctl", "--no-pager", "-o", "short-iso-precise", "-n", strconv.Itoa(journalLines),
		"-u", "containerd-lite", "-u", "containerd").Output()
}

// shimName is the beginning of the name of every shim's process.
const shimName = "containerd-shim"

// shimDirs yields the directories in /proc of the shims of the node, of whatever kind.
func shimDirs(root string) func(yield func(dir string) bool) {
	return func(yield func(dir string) bool) {
		for dir, name := range check.HostProcesses(root) {
			if strings.HasPrefix(name, shimName) && !yield(dir) {
				return
			}
		}
	}
}
