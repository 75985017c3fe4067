// SPDX-License-Identifier: Apache-2.0

package specgen

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/host"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// Generator makes OCI specs.
type Generator struct {
	Config    config.Runtime
	BaseSpecs map[string]*specs.Spec // by handler
	Facts     host.Facts
	Features  map[string]*features.Features // by handler; nil if unknown
	Files     host.PodFiles
}

// facts returns the facts for the specs of a handler. For the handler "" it returns those that are
// the same for all handlers.
func (g *Generator) facts(handler string) spec.Facts {
	facts := g.Facts.For(g.Features[handler])
	facts.AppArmor = facts.AppArmor && !g.Config.DisableApparmor
	return facts
}

func (g *Generator) handler(name string, h config.Handler) spec.Handler {
	return spec.Handler{
		BaseSpec:                     g.BaseSpecs[name],
		PodAnnotations:               h.PodAnnotations,
		ContainerAnnotations:         h.ContainerAnnotations,
		PrivilegedWithoutHostDevices: h.PrivilegedWithoutHostDevices,
		PrivilegedAllDevicesAllowed:  h.PrivilegedWithoutHostDevicesAllDevicesAllowed,
		CgroupWritable:               h.CgroupWritable,
		SystemdCgroup:                h.SystemdCgroup(),
	}
}

func (g *Generator) options() spec.Options {
	return spec.Options{
		DisableProcMount:                   g.Config.DisableProcMount,
		UnsetSeccompProfile:                g.Config.UnsetSeccompProfile,
		RestrictOOMScoreAdj:                g.Config.RestrictOOMScoreAdj,
		DeviceOwnershipFromSecurityContext: g.Config.DeviceOwnershipFromSecurityContext,
		DisableHugetlb:                     g.Config.DisableHugetlbController,
		TolerateMissingHugetlb:             g.Config.TolerateMissingHugetlbController,
	}
}

// missing returns the policy for sources of mounts that do not exist.
func (g *Generator) missing() host.Missing {
	if g.Config.Lite.MissingHostPath == config.MissingHostPathError {
		return host.RefuseMissing
	}
	return host.CreateMissing
}

func (g *Generator) classes() host.Classes {
	return host.Classes{
		IgnoreBlockIO: g.Config.Containerd.IgnoreBlockIONotEnabledErrors,
		IgnoreRDT:     g.Config.Containerd.IgnoreRdtNotEnabledErrors,
	}
}
