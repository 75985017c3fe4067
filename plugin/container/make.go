// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/host"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/rootfs"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// SpecRequest is the input from which the spec of a container is made.
type SpecRequest struct {
	ID          string
	Config      *runtimeapi.ContainerConfig
	Pod         *pod.Record
	Image       image.Image
	HandlerName string
	Handler     config.Handler
	Rootfs      []mount.Mount
	VolumesDir  string         // copies of the volumes that the image defines
	Images      map[int]string // host paths of image volumes, by index of the mount
	SELinux     spec.Labels
	// PIDOf returns the PID of a running container of a pod.
	PIDOf func(podID, id string) (uint32, error)
}

// SpecResult is an OCI spec and the user of its process.
type SpecResult struct {
	Spec *specs.Spec
	User *runtimeapi.LinuxContainerUser
}

// Machine makes OCI specs. It reads the facts that package spec needs from the host and from the
// container's root file system.
type Machine struct {
	Facts     func(handler string) spec.Facts
	Handler   func(name string, h config.Handler) spec.Handler
	Options   spec.Options
	Files     func(p *pod.Record) spec.PodFiles
	Classes   host.Classes
	Missing   host.Missing // policy for mount sources that do not exist
	NoVolumes bool         // ignore_image_defined_volumes
}

var _ Specs = Machine{}

// Make makes the spec of a container from the result of Check. On the host, it copies the image's
// volumes, creates missing mount sources and sets SELinux labels; it changes nothing else.
func (m Machine) Make(ctx context.Context, in spec.Input, req SpecRequest) (SpecResult, error) {
	in.Mounts = slices.Clone(in.Mounts)
	for i, source := range req.Images {
		in.Mounts[i].Path = source
	}
	var err error
	in.SELinux = req.SELinux
	if in.SELinux.Process, err = host.VMLabel(in.SELinux.Process, req.Handler.Type); err != nil {
		return SpecResult{}, err
	}
	if err := m.readRootfs(ctx, &in, req); err != nil {
		return SpecResult{}, err
	}
	s, err := m.build(ctx, in)
	if err != nil {
		return SpecResult{}, err
	}
	if err := host.MakeMissing(in.Mounts); err != nil {
		return SpecResult{}, err
	}
	if err := relabel(&in); err != nil {
		return SpecResult{}, err
	}
	return SpecResult{Spec: s, User: spec.EffectiveUser(s).GetLinux()}, nil
}

// Check rejects requests that Make would reject later. Make looks up the user, the SELinux labels
// and the image volumes; until then, Check assumes the user root. Check changes nothing on the
// host, except that it loads the default AppArmor profile.
func (m Machine) Check(ctx context.Context, req SpecRequest) (spec.Input, error) {
	if err := rootfs.CheckUser(req.Config.GetLinux().GetSecurityContext(), req.Image.Spec.Config.User); err != nil {
		return spec.Input{}, err
	}
	in, err := m.readHost(req)
	if err != nil {
		return in, err
	}
	_, err = m.build(ctx, in)
	return in, err
}

// build makes the spec. The edits of CDI are applied last.
func (m Machine) build(ctx context.Context, in spec.Input) (*specs.Spec, error) {
	s, err := spec.Container(in)
	if err != nil {
		return nil, err
	}
	if err := m.Classes.Apply(s, in.Config, in.Pod.Config); err != nil {
		return nil, err
	}
	devices, err := host.CDIDevices(in.Config)
	if err != nil {
		return nil, err
	}
	return s, host.InjectCDI(ctx, s, devices)
}

// relabel sets the container's SELinux label on the host files that it may use: mounts that request
// it, the files of its pod and its volumes.
func relabel(in *spec.Input) error {
	if in.SELinux.Mount == "" {
		return nil
	}
	files := in.Pod.Files
	paths := []string{files.Hostname, files.Hosts, files.ResolvConf}
	if !in.Pod.HostIPC() {
		paths = append(paths, files.Shm)
	}
	for i, m := range in.Config.GetMounts() {
		if m.GetSelinuxRelabel() && m.GetImage() == nil {
			paths = append(paths, in.Mounts[i].Path)
		}
	}
	for _, v := range in.Volumes {
		paths = append(paths, v.Source)
	}
	for _, path := range paths {
		if err := host.Relabel(path, in.SELinux.Mount); err != nil {
			return err
		}
	}
	return nil
}

// Update merges new limits into the spec of a container.
func (m Machine) Update(current *specs.Spec, want *runtimeapi.LinuxContainerResources) (*specs.Spec, error) {
	merged, err := spec.Resources(current.Linux.Resources, want, m.Facts(""), m.Options)
	if err != nil {
		return nil, err
	}
	linux := *current.Linux
	linux.Resources = merged
	updated := *current
	updated.Linux = &linux
	return &updated, nil
}

// readHost reads what the spec needs from the request, the configuration and the host.
func (m Machine) readHost(req SpecRequest) (in spec.Input, err error) {
	in = spec.Input{
		ID:      req.ID,
		Config:  req.Config,
		Pod:     req.Pod.SpecPod(m.Files(req.Pod)),
		Image:   spec.Image{Name: req.Image.Name(), Config: req.Image.Spec.Config},
		Handler: m.Handler(req.HandlerName, req.Handler),
		Options: m.Options,
		Facts:   m.Facts(req.HandlerName),
	}
	sc := req.Config.GetLinux().GetSecurityContext()
	if in.Mounts, err = host.ResolveMounts(req.Config.GetMounts(), m.Missing); err != nil {
		return in, err
	}
	if in.Devices, err = host.ResolveDevices(req.Config.GetDevices()); err != nil {
		return in, err
	}
	if sc.GetPrivileged() && !in.Handler.PrivilegedWithoutHostDevices {
		if in.HostDevices, err = host.Devices(); err != nil {
			return in, err
		}
	}
	if in.SeccompProfile, err = m.seccomp(sc); err != nil {
		return in, err
	}
	if in.Facts.AppArmor {
		profile, err := spec.AppArmor(sc)
		if err != nil {
			return in, err
		}
		if err := host.LoadAppArmor(profile); err != nil {
			return in, err
		}
	}
	if ns := sc.GetNamespaceOptions(); ns.GetPid() == runtimeapi.NamespaceMode_TARGET {
		pid, err := req.PIDOf(req.Pod.ID, ns.GetTargetId())
		if err != nil {
			return in, err
		}
		in.TargetPID = fmt.Sprintf("/proc/%d/ns/pid", pid)
	}
	return in, nil
}

func (m Machine) seccomp(sc *runtimeapi.LinuxContainerSecurityContext) ([]byte, error) {
	profile, err := spec.Seccomp(sc, m.Options.UnsetSeccompProfile)
	if err != nil {
		return nil, err
	}
	return host.ReadSeccompProfile(profile)
}

// readRootfs mounts the container's root file system temporarily, to look up the user and to copy
// the image's volumes.
func (m Machine) readRootfs(ctx context.Context, in *spec.Input, req SpecRequest) error {
	image := req.Image.Spec.Config
	// Mount without ID mapping, so that the copies have the IDs of the image: the spec maps the IDs
	// of volumes itself.
	mounts := mount.RemoveVolatileOption(mount.RemoveIDMapOption(req.Rootfs))
	err := mount.WithReadonlyTempMount(ctx, mounts, func(root string) (err error) {
		in.User, err = rootfs.ResolveUser(root, req.Config.GetLinux().GetSecurityContext(), image.User)
		if err != nil || m.NoVolumes {
			return err
		}
		in.Volumes, err = rootfs.CopyVolumes(ctx, root, image.Volumes, req.Config.GetMounts(), req.VolumesDir)
		return err
	})
	if err != nil {
		return fmt.Errorf("image %s: %w", req.Image.Name(), err)
	}
	return nil
}
