// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/apparmor"
	"github.com/containerd/containerd/v2/pkg/cap"
	"github.com/containerd/containerd/v2/pkg/kernelversion"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/containerd/v2/pkg/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"github.com/opencontainers/selinux/go-selinux"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/cgroup"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// Facts are the properties of the machine that do not change while the daemon runs.
type Facts struct {
	spec.Facts
	Cgroups Cgroups
	SELinux bool
	// BootID changes with each boot of the kernel; proc_sys_kernel(5).
	BootID string
	// kernelRRO is set if the kernel has mount_setattr(2), Linux 5.12.
	kernelRRO bool
}

// Read reads the facts of this machine.
func Read() (Facts, error) {
	f, err := readFiles(os.DirFS("/"))
	if err != nil {
		return Facts{}, fmt.Errorf("host facts: %w", err)
	}
	if f.Capabilities, err = cap.Current(); err != nil {
		return Facts{}, fmt.Errorf("host facts: capabilities: %w", err)
	}
	if f.MaskedPaths, f.ReadonlyPaths, err = defaultPaths(); err != nil {
		return Facts{}, fmt.Errorf("host facts: paths to mask: %w", err)
	}
	if f.kernelRRO, err = kernelversion.GreaterEqualThan(kernelversion.KernelVersion{Kernel: 5, Major: 12}); err != nil {
		return Facts{}, fmt.Errorf("host facts: %w", err)
	}
	f.Seccomp = seccomp.IsEnabled()
	f.AppArmor = apparmor.HostSupports()
	f.SELinux = selinux.GetEnabled()
	return f, nil
}

// readFiles reads the facts that are in files below root.
func readFiles(root fs.FS) (f Facts, err error) {
	if f.Cgroups, err = ReadCgroups(root); err != nil {
		return Facts{}, err
	}
	f.CgroupV2 = f.Cgroups.Mode == cgroup.V2
	f.CgroupMountOptions = f.Cgroups.mountOptions
	f.SwapController = f.Cgroups.Swap
	f.Hugetlb = f.Cgroups.Hugetlb
	bootID, err := fs.ReadFile(root, "proc/sys/kernel/random/boot_id")
	if err != nil {
		return Facts{}, err
	}
	f.BootID = strings.TrimSpace(string(bootID))
	if f.OOMScoreAdj, err = readNumber(root, "proc/self/oom_score_adj"); err != nil {
		return Facts{}, err
	}
	return f, nil
}

func readNumber(root fs.FS, name string) (int, error) {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return n, nil
}

// defaultPaths returns the paths that containerd masks and makes read-only by default. They are
// taken from containerd, because the list grows with its versions and has an entry for each CPU of
// the machine (since GHSA-7ww5-4wqc-m92c).
func defaultPaths() (masked, readonly []string, err error) {
	ctx := namespaces.WithNamespace(context.Background(), namespaces.Default)
	s, err := oci.GenerateSpec(ctx, nil, &containers.Container{})
	if err != nil {
		return nil, nil, err
	}
	return s.Linux.MaskedPaths, s.Linux.ReadonlyPaths, nil
}

// For returns the facts for the specs of a handler. runtime is the output of the `features` command
// of its OCI runtime, or nil if the runtime has no such command.
func (f Facts) For(runtime *features.Features) spec.Facts {
	s := f.Facts
	if runtime != nil {
		s.OCIVersion = runtime.OCIVersionMax
		s.RecursiveReadOnly = f.kernelRRO && slices.Contains(runtime.MountOptions, "rro")
	}
	return s
}

// Features returns the features that Status reports for a handler. runtime is as for [Facts.For];
// for nil, the result is nil.
func (f Facts) Features(runtime *features.Features) *runtimeapi.RuntimeHandlerFeatures {
	if runtime == nil {
		return nil
	}
	return &runtimeapi.RuntimeHandlerFeatures{
		RecursiveReadOnlyMounts: f.For(runtime).RecursiveReadOnly,
		UserNamespaces:          userNamespaces(runtime.Linux),
	}
}

// userNamespaces reports whether a runtime supports user namespaces with id-mapped mounts.
// Kubernetes needs both (KEP-127).
func userNamespaces(l *features.Linux) bool {
	if l == nil || l.MountExtensions == nil || l.MountExtensions.IDMap == nil || l.MountExtensions.IDMap.Enabled == nil {
		return false
	}
	return *l.MountExtensions.IDMap.Enabled && slices.Contains(l.Namespaces, "user")
}
