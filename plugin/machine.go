// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"cmp"
	"context"
	"fmt"
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
	// initBinary is the name of the shim's binary, which is also the init of pods; see package
	// shim/podinit.
	initBinary = "containerd-shim-lite-v2"
	// bundleRootfs is the directory in a bundle where the shim mounts the root file system.
	bundleRootfs = "rootfs"
	// featuresTimeout bounds how long a shim may take to report its features. It is long enough for
	// a node that boots, and only meant for a shim that is stuck: the kubelet refuses pods that
	// need unknown features until the daemon restarts.
	featuresTimeout = time.Minute
)

// machine has the facts about this host and the runtimes of the handlers, in the types of package
// spec.
type machine struct {
	facts     host.Facts
	features  map[string]*features.Features // by handler; nil if unknown
	options   spec.Options
	baseSpecs map[string]*specs.Spec
	files     host.PodFiles
}

func newMachine(ctx context.Context, deps Deps, containerd *runtime.Client, facts host.Facts) machine {
	r := deps.Config.Runtime
	facts.AppArmor = facts.AppArmor && !r.DisableApparmor
	return machine{
		facts:     facts,
		features:  readFeatures(ctx, r, shimFeatures(containerd)),
		baseSpecs: deps.BaseSpecs,
		files:     host.PodFiles{Paths: deps.paths()},
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

// readFeatures asks the shim of each handler for the features of its OCI runtime. It asks all in
// parallel, because each answer takes two processes and the daemon serves only after the last.
// Equal handlers share an answer. A shim that does not answer, or is not installed, does not
// prevent the start.
func readFeatures(ctx context.Context, r config.Runtime, read featuresFunc) map[string]*features.Features {
	names := r.HandlerNames()
	answers := make([]*features.Features, len(names))
	var equal singleflight.Group
	var all sync.WaitGroup
	for i, name := range names {
		_, handler, err := r.Handler(name)
		if err != nil {
			continue
		}
		guard.Go(ctx, &all, "read features", func() {
			key := fmt.Sprint(handler.Type, " ", handler.Path, " ", handler.Options)
			answer, err, _ := equal.Do(key, func() (any, error) {
				return guard.Value(ctx, "features", func() (*features.Features, error) { return read(ctx, handler) })
			})
			if err != nil {
				log.G(ctx).WithError(err).WithField("handler", name).Warn("features of the runtime handler are unknown; the kubelet refuses pods that need them until the daemon restarts")
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

// featuresFunc returns the features that the shim of a handler reports.
type featuresFunc func(ctx context.Context, handler config.Handler) (*features.Features, error)

func shimFeatures(containerd *runtime.Client) featuresFunc {
	return func(ctx context.Context, handler config.Handler) (*features.Features, error) {
		ctx, cancel := context.WithTimeout(ctx, featuresTimeout)
		defer cancel()
		options, err := handler.RuntimeOptions()
		if err != nil {
			return nil, err
		}
		return containerd.Features(ctx, cmp.Or(handler.Path, handler.Type), options)
	}
}

// specs returns the inputs for the specs of containers.
func (m machine) specs(r config.Runtime) container.Machine {
	missing := host.CreateMissing
	if r.Lite.MissingHostPath == config.MissingHostPathError {
		missing = host.RefuseMissing
	}
	return container.Machine{
		Facts:   func(handler string) spec.Facts { return m.facts.For(m.features[handler]) },
		Handler: m.handler,
		Options: m.options,
		Files:   func(p *pod.Record) spec.PodFiles { return m.files.Of(p.ID, p.Config) },
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

// podTask returns the spec of a pod's task.
func (m machine) podTask(r *pod.Record, h config.Handler) (*specs.Spec, error) {
	facts := m.facts.For(m.features[r.Handler])
	if !r.HasInit {
		return spec.PodHolder(r.SpecPod(m.files.Of(r.ID, r.Config)), m.handler(r.Handler, h), facts)
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
		Pod:     r.SpecPod(m.files.Of(r.ID, r.Config)),
		Handler: m.handler(r.Handler, h),
		Options: m.options,
		Facts:   facts,
		SELinux: labels,
		Root:    bundleRootfs,
		Binary:  binary,
	})
}

// checkShim returns an error if the shim of a handler is not installed, or if its runtime type does
// not name one.
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

// findProgram searches a program where containerd searches shims: on the PATH, and in the directory
// of the daemon.
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

// handlers returns the runtime handlers for Status, by name. The first is the default handler.
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
