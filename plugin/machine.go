// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

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
		features:  containerd.Features(ctx, r),
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
	binary, err := runtime.FindProgram(initBinary)
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
