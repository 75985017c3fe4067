// SPDX-License-Identifier: Apache-2.0

package specgen

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/host"
	"github.com/containerd-lite/containerd-lite/plugin/rootfs"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// Request is the input from which the spec of a container is made.
type Request struct {
	ID          string
	Config      *runtimeapi.ContainerConfig
	Pod         spec.Pod // without Files: the Generator adds them
	Image       spec.Image
	HandlerName string
	Handler     config.Handler
	Rootfs      []mount.Mount
	VolumesDir  string         // copies of the volumes that the image defines
	Images      map[int]string // host paths of image volumes, by index of the mount
	SELinux     spec.Labels
	// PIDOf returns the PID of a running container of a pod.
	PIDOf func(podID, id string) (uint32, error)
}

// Make makes the spec of a container from the result of Check. On the host, it copies the image's
// volumes, creates missing mount sources and sets SELinux labels; it changes nothing else.
func (g *Generator) Make(ctx context.Context, in spec.Input, req Request) (*specs.Spec, error) {
	in.Mounts = slices.Clone(in.Mounts)
	for i, source := range req.Images {
		in.Mounts[i].Path = source
	}
	var err error
	in.SELinux = req.SELinux
	if in.SELinux.Process, err = host.VMLabel(in.SELinux.Process, req.Handler.Type); err != nil {
		return nil, err
	}
	if err := g.readRootfs(ctx, &in, req); err != nil {
		return nil, err
	}
	s, err := g.build(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := host.MakeMissing(in.Mounts); err != nil {
		return nil, err
	}
	return s, relabel(&in)
}

// Check rejects requests that Make would reject later. It does not know the user, the SELinux
// labels and the image volumes yet, and assumes the user root. It changes nothing on the host,
// except that it loads the default AppArmor profile.
func (g *Generator) Check(ctx context.Context, req Request) (spec.Input, error) {
	if err := rootfs.CheckUser(req.Config.GetLinux().GetSecurityContext(), req.Image.Config.User); err != nil {
		return spec.Input{}, err
	}
	if req.Handler.BaseRuntimeSpec != "" && g.BaseSpecs[req.HandlerName] == nil {
		return spec.Input{}, fmt.Errorf("runtime handler %s: its base_runtime_spec was removed by a reload; try again: %w", req.HandlerName, errdefs.ErrUnavailable)
	}
	in, err := g.readHost(req)
	if err != nil {
		return in, err
	}
	_, err = g.build(ctx, in)
	return in, err
}

// build makes the spec. The edits of CDI are applied last.
func (g *Generator) build(ctx context.Context, in spec.Input) (*specs.Spec, error) {
	s, err := spec.Container(in)
	if err != nil {
		return nil, err
	}
	if err := g.classes().Apply(s, in.Config, in.Pod.Config); err != nil {
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
func (g *Generator) Update(current *specs.Spec, want *runtimeapi.LinuxContainerResources) (*specs.Spec, error) {
	merged, err := spec.Resources(current.Linux.Resources, want, g.facts(""), g.options())
	if err != nil {
		return nil, err
	}
	return withResources(current, merged), nil
}

// withResources returns a copy of a spec with other resources.
func withResources(current *specs.Spec, resources *specs.LinuxResources) *specs.Spec {
	linux := *current.Linux
	linux.Resources = resources
	updated := *current
	updated.Linux = &linux
	return &updated
}

// readHost reads what the spec needs from the request, the configuration and the host.
func (g *Generator) readHost(req Request) (in spec.Input, err error) {
	in = spec.Input{
		ID:      req.ID,
		Config:  req.Config,
		Pod:     req.Pod,
		Image:   req.Image,
		Handler: g.handler(req.HandlerName, req.Handler),
		Options: g.options(),
		Facts:   g.facts(req.HandlerName),
	}
	in.Pod.Files = g.Files.Of(req.Pod.ID, req.Pod.Config)
	sc := req.Config.GetLinux().GetSecurityContext()
	if in.Mounts, err = host.ResolveMounts(req.Config.GetMounts(), g.missing()); err != nil {
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
	if in.SeccompProfile, err = g.seccomp(sc); err != nil {
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

func (g *Generator) seccomp(sc *runtimeapi.LinuxContainerSecurityContext) ([]byte, error) {
	profile, err := spec.Seccomp(sc, g.Config.UnsetSeccompProfile)
	if err != nil {
		return nil, err
	}
	return host.ReadSeccompProfile(profile)
}

// readRootfs mounts the container's root file system temporarily, to look up the user and to copy
// the image's volumes.
func (g *Generator) readRootfs(ctx context.Context, in *spec.Input, req Request) error {
	image := req.Image.Config
	// Mount without ID mapping, so that the copies have the IDs of the image: the spec maps the IDs
	// of volumes itself.
	mounts := mount.RemoveVolatileOption(mount.RemoveIDMapOption(req.Rootfs))
	err := mount.WithReadonlyTempMount(ctx, mounts, func(root string) (err error) {
		in.User, err = rootfs.ResolveUser(root, req.Config.GetLinux().GetSecurityContext(), image.User)
		if err != nil || g.Config.IgnoreImageDefinedVolumes {
			return err
		}
		in.Volumes, err = rootfs.CopyVolumes(ctx, root, image.Volumes, req.Config.GetMounts(), req.VolumesDir)
		return err
	})
	if err != nil {
		return fmt.Errorf("image %s: %w", req.Image.Name, err)
	}
	return nil
}
