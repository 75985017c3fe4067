// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"golang.org/x/sync/singleflight"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/host"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

const (
	// initBinary is the program that is also the init of pods; see package
	// shim/podinit.
	initBinary = "containerd-shim-lite-v2"
	// bundleRootfs is where a shim mounts a root file system, in the bundle.
	bundleRootfs = "rootfs"
	// featuresLimit bounds how long a shim may take to tell its features. It is for one
	// that is stuck: while a node boots everything takes long, and features that are not
	// known are refused by the kubelet until the daemon is started again.
	featuresLimit = time.Minute
)

// machine is what this host and the runtimes of its handlers are, in the terms
// of package spec.
type machine struct {
	facts     host.Facts
	features  map[string]*features.Features // by handler; nil for one that says nothing
	options   spec.Options
	baseSpecs map[string]*specs.Spec
	files     podFiles
}

func newMachine(ctx context.Context, deps Deps, door *runtime.Client, facts host.Facts) machine {
	r := deps.Config.Runtime
	facts.AppArmor = facts.AppArmor && !r.DisableApparmor
	return machine{
		facts:     facts,
		features:  readFeatures(ctx, r, askShim(door)),
		baseSpecs: deps.BaseSpecs,
		files:     podFiles{root: deps.RootDir, state: deps.StateDir},
		options: spec.Options{
			DisableProcMount:                   r.DisableProcMount,
			UnsetSeccompProfile:                r.UnsetSeccompProfile,
			RestrictOOMScoreAdj:                r.RestrictOOMScoreAdj,
			DeviceOwnershipFromSecurityContext: r.DeviceOwnershipFromSecurityContext,
			DisableHugetlb:                     r.DisableHugetlbController,
			TolerateMissingHugetlb:             r.TolerateMissingHugetlbController,
		},
	}
}

// readFeatures asks each handler's shim what its OCI runtime can do: all at once, as
// each answer takes two processes, and the daemon serves only after the last. Equal
// handlers share one. A shim that does not say, or is not installed yet, keeps nobody
// from starting.
func readFeatures(ctx context.Context, r config.Runtime, ask askFeatures) map[string]*features.Features {
	names := r.HandlerNames()
	answers := make([]*features.Features, len(names))
	var equal singleflight.Group
	var all sync.WaitGroup
	for i, name := range names {
		_, handler, err := r.Handler(name)
		if err != nil {
			continue
		}
		guard.Go(ctx, &all, "ask for features", func() {
			key := fmt.Sprint(handler.Type, " ", handler.Path, " ", handler.Options)
			answer, err, _ := equal.Do(key, func() (any, error) {
				return guard.Value(ctx, "features", func() (*features.Features, error) { return ask(ctx, handler) })
			})
			if err != nil {
				log.G(ctx).WithError(err).WithField("handler", name).Warn("features of the runtime handler are not known")
				return
			}
			answers[i] = answer.(*features.Features)
		})
	}
	all.Wait()
	found := make(map[string]*features.Features, len(names))
	for i, name := range names {
		found[name] = answers[i]
	}
	return found
}

// askFeatures asks the shim of a handler.
type askFeatures func(ctx context.Context, handler config.Handler) (*features.Features, error)

func askShim(door *runtime.Client) askFeatures {
	return func(ctx context.Context, handler config.Handler) (*features.Features, error) {
		ctx, cancel := context.WithTimeout(ctx, featuresLimit)
		defer cancel()
		options, err := handler.RuntimeOptions()
		if err != nil {
			return nil, err
		}
		return door.Features(ctx, cmp.Or(handler.Path, handler.Type), options)
	}
}

// specs is the step of container creation that looks at the machine.
func (m machine) specs(r config.Runtime) container.Machine {
	missing := host.CreateMissing
	if r.Lite.MissingHostPath == config.MissingHostPathError {
		missing = host.RefuseMissing
	}
	return container.Machine{
		Facts:   func(handler string) spec.Facts { return m.facts.For(m.features[handler]) },
		Handler: m.handler,
		Options: m.options,
		Files:   m.files.of,
		Missing: missing,
		Classes: host.Classes{
			IgnoreBlockIO: r.Containerd.IgnoreBlockIONotEnabledErrors,
			IgnoreRDT:     r.Containerd.IgnoreRdtNotEnabledErrors,
		},
		NoVolumes: r.IgnoreImageDefinedVolumes,
	}
}

func (m machine) handler(name string, h config.Handler) spec.Handler {
	return spec.Handler{
		BaseSpec:                     m.baseSpecs[name],
		PodAnnotations:               h.PodAnnotations,
		ContainerAnnotations:         h.ContainerAnnotations,
		PrivilegedWithoutHostDevices: h.PrivilegedWithoutHostDevices,
		PrivilegedAllDevicesAllowed:  h.PrivilegedWithoutHostDevicesAllDevicesAllowed,
		CgroupWritable:               h.CgroupWritable,
		SystemdCgroup:                h.SystemdCgroup(),
	}
}

// podTask makes the spec of a pod's task.
func (m machine) podTask(r *pod.Record, h config.Handler) (*specs.Spec, error) {
	facts := m.facts.For(m.features[r.Handler])
	if !r.HasInit {
		return spec.PodHolder(r.SpecPod(m.files.of(r)), m.handler(r.Handler, h), facts)
	}
	binary, err := findProgram(initBinary)
	if err != nil {
		return nil, err
	}
	if facts.AppArmor {
		profile, err := spec.PodAppArmor(r.Config.GetLinux().GetSecurityContext())
		if err != nil {
			return nil, err
		}
		if err := host.LoadAppArmor(profile); err != nil {
			return nil, err
		}
	}
	labels := r.SELinux
	if labels.Process, err = host.VMLabel(labels.Process, h.Type); err != nil {
		return nil, err
	}
	return spec.PodInit(spec.PodInitInput{
		Pod:     r.SpecPod(m.files.of(r)),
		Handler: m.handler(r.Handler, h),
		Options: m.options,
		Facts:   facts,
		SELinux: labels,
		Root:    bundleRootfs,
		Binary:  binary,
	})
}

// checkShim tells why a handler's shim cannot be started, if so.
func checkShim(h config.Handler) error {
	path := cmp.Or(h.Path, h.Type)
	if filepath.IsAbs(path) {
		if !isProgram(path) {
			return fmt.Errorf("shim %s is not installed: %w", path, errdefs.ErrFailedPrecondition)
		}
		return nil
	}
	name := shim.BinaryName(h.Type)
	if name == "" {
		return fmt.Errorf("runtime_type %q does not name a shim (as io.containerd.lite.v2 does): %w", h.Type, errdefs.ErrFailedPrecondition)
	}
	_, err := findProgram(name)
	return err
}

// findProgram finds a program where containerd looks for shims: on the PATH, or
// beside the daemon.
func findProgram(name string) (string, error) {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	if self, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(self))
	}
	for _, dir := range dirs {
		if path := filepath.Join(dir, name); filepath.IsAbs(path) && isProgram(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: not in %s (put it beside containerd-lite or on its PATH): %w",
		name, strings.Join(dirs, ", "), errdefs.ErrFailedPrecondition)
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// handlers are the runtime handlers as Status reports them, by name: the default one is the first.
func (m machine) handlers(r config.Runtime) []*runtimeapi.RuntimeHandler {
	var list []*runtimeapi.RuntimeHandler
	for _, name := range r.HandlerNames() {
		f := m.facts.Features(m.features[name])
		list = append(list, &runtimeapi.RuntimeHandler{Name: name, Features: f})
		if name == r.Containerd.DefaultRuntimeName {
			list = slices.Insert(list, 0, &runtimeapi.RuntimeHandler{Name: "", Features: f})
		}
	}
	return list
}

// podFiles finds the directories of a pod's files.
type podFiles struct{ root, state string }

func (f podFiles) dir(id string) host.PodDir {
	return host.PodDir{
		Root:  filepath.Join(f.root, "sandboxes", id),
		State: filepath.Join(f.state, "sandboxes", id),
	}
}

func (f podFiles) of(r *pod.Record) spec.PodFiles { return f.dir(r.ID).Files(r.Config) }

// Create makes the files of a pod.
func (f podFiles) Create(id, hostname string, c *runtimeapi.PodSandboxConfig) error {
	_, err := f.dir(id).Create(hostname, c)
	return err
}

// Remove removes them.
func (f podFiles) Remove(id string) error { return f.dir(id).Remove() }

// IDs returns the pods that have files which outlive a reboot.
func (f podFiles) IDs() ([]string, error) {
	entries, err := os.ReadDir(f.dir("").Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var ids []string
	for _, entry := range entries {
		ids = append(ids, entry.Name())
	}
	return ids, nil
}
