// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// RemovePods stops and removes all pods, such as a failed test left, and the cgroups that a kubelet
// created for them.
func (b *Bench) RemovePods(ctx context.Context) error {
	client, err := b.CRI()
	if err != nil {
		return err
	}
	defer client.Close()
	pods, err := client.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	errs := []error{err}
	for _, pod := range pods.GetItems() {
		errs = append(errs, client.RemovePod(ctx, pod.Id))
	}
	return errors.Join(append(errs, b.sweepCgroups())...)
}

// ownerFile, in the root of a bench, holds the PID of the process that owns the bench, and the name
// of the bridge.
const ownerFile = "owner"

func (b *Bench) writeOwner() error {
	owner := fmt.Sprintf("%d %s\n", os.Getpid(), b.Network.Bridge)
	return os.WriteFile(b.Path(ownerFile), []byte(owner), 0o644)
}

// sweepAbandoned removes the benches of processes that were interrupted before they could call
// Close.
func sweepAbandoned() error {
	owners, err := filepath.Glob(filepath.Join(os.TempDir(), benchPrefix+"*", ownerFile))
	errs := []error{err}
	for _, file := range owners {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the bench is being closed
		}
		var pid int
		b := &Bench{Root: filepath.Dir(file), Network: &Network{rules: map[string][]string{}}}
		if _, err := fmt.Sscan(string(text), &pid, &b.Network.Bridge); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", file, err))
			continue
		}
		if syscall.Kill(pid, 0) == nil {
			continue
		}
		for _, command := range iptables {
			b.Network.rules[command] = nil
		}
		// A cgroup that is not known to be the bench's is kept.
		b.cgroups, err = containerCgroups()
		errs = append(errs, err, b.sweep(), b.Network.Remove(), os.RemoveAll(b.Root))
	}
	return errors.Join(errs...)
}

// sweep kills the processes and removes the mounts that a failed test left, so that the next one
// starts on a clean host. The leak check has reported them before.
func (b *Bench) sweep() error {
	pids, err := b.processes()
	if err != nil {
		return err
	}
	var errs []error
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("sweep: kill %d: %w", pid, err))
		}
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(b.Root))
	errs = append(errs, err)
	for _, m := range slices.Backward(mounts) {
		if err := unix.Unmount(m.Mountpoint, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("sweep: unmount %s: %w", m.Mountpoint, err))
		}
	}
	return errors.Join(append(errs, b.sweepCgroups())...)
}
