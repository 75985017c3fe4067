// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"fmt"
	"maps"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/containerlog"
	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/undo"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/containerio"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
	"github.com/containerd-lite/containerd-lite/plugin/specgen"
)

// maxImageLabels bounds the labels that a container gets from its image, in bytes: `ctr containers
// ls` receives the labels of all containers in one gRPC message of at most 16 MiB.
const maxImageLabels = 64 << 10

// request is a container that is being created, with everything that was looked up for it.
type request struct {
	record  *Record
	pod     *pod.Record
	image   image.Image
	handler config.Handler
	checked spec.Input
	rootfs  []mount.Mount
	volumes []imageVolume
	sources map[int]string // host paths of the image volumes, by index of the mount
}

// Create creates a container in a ready pod and returns its ID. It joins an equal call in progress,
// and takes over the result of one whose caller gave up (see package join). It returns
// AlreadyExists if another container has the same metadata, and NotFound if the image is not on
// this node.
func (m *Manager) Create(ctx context.Context, podID string, config *runtimeapi.ContainerConfig) (string, error) {
	p, err := m.Pods.Get(podID)
	if err != nil {
		return "", err
	}
	if config.GetMetadata().GetName() == "" {
		return "", fmt.Errorf("%s: container config: metadata.name is missing: %w", p, errdefs.ErrInvalidArgument)
	}
	key, err := proto.MarshalOptions{Deterministic: true}.Marshal(config)
	if err != nil {
		return "", fmt.Errorf("container config: %w", err)
	}
	return m.creates.Do(ctx, p.ID+"\x00"+string(key), func(ctx context.Context) (string, error) {
		id, err := guard.Value(ctx, "create", func() (string, error) { return m.create(ctx, p, config) })
		if err != nil {
			return "", kubeletError(fmt.Errorf("%s: container %s: %w", p, config.GetMetadata().GetName(), err))
		}
		return id, nil
	})
}

// lookUp gathers the inputs of a container. It changes nothing.
func (m *Manager) lookUp(ctx context.Context, p *pod.Record, c *runtimeapi.ContainerConfig) (*request, error) {
	if err := checkReady(p); err != nil {
		return nil, err
	}
	name := c.GetImage().GetImage()
	img, err := m.Images.Resolve(ctx, name)
	if errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("image %s is not on this node (pull it first): %w", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("image %q: %w", name, err)
	}
	volumes, err := m.volumes.find(ctx, c)
	if err != nil {
		return nil, err
	}
	_, handler, err := m.Handlers.Handler(p.Handler)
	if err != nil {
		return nil, err
	}
	if asked := c.GetImage().GetUserSpecifiedImage(); asked != "" {
		name = asked
	}
	r := &Record{
		ID:     m.NewID(),
		PodID:  p.ID,
		Config: c,
		Image:  Image{ID: img.ID, Name: name, Ref: img.Name(), Digest: img.Target.Digest.String()},
		Runtime: Runtime{
			Handler:       p.Handler,
			ShimPath:      handler.Path,
			ShimWritesLog: handler.Type == config.LiteRuntimeType,
			Snapshotter:   m.Snapshotter(p.Handler),
		},
		LogDir:     p.Config.GetLogDirectory(),
		StopSignal: stopSignal(c.GetStopSignal(), img.Spec.Config.StopSignal),
		Times:      Times{Created: m.Now().UnixNano()},
		Applied:    Applied{VolumeImages: volumeImages(volumes)},
	}
	r.Name = uniqueName(c.GetMetadata(), p.Config.GetMetadata())
	return &request{record: r, pod: p, image: img, handler: handler, volumes: volumes}, nil
}

// create creates a container and shows it to readers, or rolls back. After a crash, the next start
// of the daemon removes directories without a container and snapshots that no container refers to.
func (m *Manager) create(ctx context.Context, p *pod.Record, c *runtimeapi.ContainerConfig) (id string, err error) {
	req, err := m.lookUp(ctx, p, c)
	if err != nil {
		return "", err
	}
	if req.checked, err = m.Specs.Check(ctx, m.specRequest(req)); err != nil {
		return "", err
	}
	r := req.record
	if err := m.containers.Reserve(r.ID, r.Name); err != nil {
		return "", err
	}
	var u undo.Stack
	defer func() { rollback(ctx, r.ID, &u) }()
	u.Push("name", func(context.Context) error { m.containers.Forget(r.ID); return nil })
	if r.SELinux, err = m.Labels.Labels(c.GetLinux().GetSecurityContext().GetSelinuxOptions(), p.SELinux.Process); err != nil {
		return "", err
	}
	u.Push("labels", func(context.Context) error { m.Labels.Release(r.SELinux.Process); return nil })
	if err := m.build(ctx, req, &u); err != nil {
		return "", err
	}
	// The pod may have been stopped in the meantime. StopPodSandbox marks the pod before it lists
	// the containers: either this check finds the mark, or StopPodSandbox finds the container.
	err = m.Pods.Hold(p.ID, func(p *pod.Record) error {
		if err := checkReady(p); err != nil {
			return err
		}
		return m.containers.Put(r)
	})
	if err != nil {
		return "", err
	}
	u.Keep()
	m.Plugins.Seen(r.ID)
	return r.ID, nil
}

// build runs the steps that create a container. Each step pushes its undo before it runs, so that a
// step that fails halfway is undone, too.
func (m *Manager) build(ctx context.Context, req *request, u *undo.Stack) (err error) {
	r := req.record
	u.Push("directories", func(context.Context) error { return m.Dirs.remove(r.ID) })
	if err := m.Dirs.make(r.ID); err != nil {
		return err
	}
	// The image may have been pulled for another handler or by ctr, and not be unpacked for this
	// snapshotter.
	if err := m.Images.Unpack(ctx, req.image, r.Runtime.Snapshotter); err != nil {
		return fmt.Errorf("unpack image %s: %w", r.Image.Name, err)
	}
	u.Push("snapshot", func(ctx context.Context) error {
		return m.Containerd.RemoveSnapshot(ctx, r.Runtime.Snapshotter, r.ID)
	})
	if req.rootfs, err = m.Containerd.PrepareSnapshot(ctx, req.snapshot()); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	u.Push("image volumes", func(ctx context.Context) error { return m.volumes.remove(ctx, r) })
	if req.sources, err = m.volumes.mount(ctx, req); err != nil {
		return err
	}
	made, err := m.Specs.Make(ctx, req.checked, m.specRequest(req))
	if err != nil {
		return err
	}
	if made, err = m.adjust(ctx, req, made, u); err != nil {
		return err
	}
	r.setApplied(made)
	streams, err := containerio.Open(m.streamOptions(r))
	if err != nil {
		return fmt.Errorf("streams: %w", err)
	}
	u.Push("streams", func(context.Context) error { return streams.Close() })
	r.life = newLife(streams)
	u.Push("container", func(ctx context.Context) error { return m.Containerd.DeleteContainer(ctx, r.ID) })
	if err := m.save(ctx, req, made); err != nil {
		return err
	}
	m.Plugins.PostCreateContainer(ctx, m.plugins.newSubject(ctx, req, made))
	return nil
}

func (m *Manager) specRequest(req *request) specgen.Request {
	return specgen.Request{
		ID:          req.record.ID,
		Config:      req.record.Config,
		Pod:         req.pod.SpecPod(),
		Image:       spec.Image{Name: req.image.Name(), Config: req.image.Spec.Config},
		Handler:     req.handler,
		HandlerName: req.record.Runtime.Handler,
		Rootfs:      req.rootfs,
		VolumesDir:  m.Dirs.Container(req.record.ID).Volumes(),
		Images:      req.sources,
		SELinux:     req.record.SELinux,
		PIDOf:       m.pidInPod,
	}
}

func (req *request) snapshot() runtime.Snapshot {
	s := runtime.Snapshot{
		Key:         req.record.ID,
		Snapshotter: req.record.Runtime.Snapshotter,
		Parent:      req.image.ChainID,
	}
	s.UIDs, s.GIDs = spec.IDMappings(req.pod.Config)
	return s
}

// rollback undoes a failed create. After Keep there is nothing to undo.
func rollback(ctx context.Context, id string, u *undo.Stack) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	if left, err := u.Run(ctx); err != nil {
		log.G(ctx).WithError(err).WithField("container", id).WithField("left", left).Error("rollback of a failed CreateContainer is incomplete; the next start of the daemon cleans up")
	}
}

// save creates the container in containerd, with its record.
func (m *Manager) save(ctx context.Context, req *request, s *specs.Spec) error {
	handler := req.handler
	if uid, gid, ok := spec.ProcessOwner(s); ok {
		handler = handler.WithIOOwner(uid, gid)
	}
	options, err := handler.RuntimeOptions()
	if err != nil {
		return fmt.Errorf("runtime handler %s: %w", req.record.Runtime.Handler, err)
	}
	err = m.Containerd.CreateContainer(ctx, runtime.Container{
		ID:          req.record.ID,
		Kind:        runtime.KindContainer,
		Labels:      containerLabels(req.record.Config.GetLabels(), req.image.Spec.Config.Labels),
		Image:       req.image.Name(),
		Runtime:     req.handler.Type,
		Options:     options,
		Snapshotter: req.record.Runtime.Snapshotter,
		Keeps:       req.record.volumeKeys(),
		Spec:        s,
		Record:      req.record,
		Sandbox:     req.sandbox(),
	})
	if err != nil {
		return fmt.Errorf("save container: %w", err)
	}
	return nil
}

// sandbox returns the pod whose shim the container's task joins without a start command. It returns
// "" if the handler has a runtime_path: containerd looks for the shim of a sandbox by the runtime's
// type when it loads the task after a restart, and would not find this shim.
func (req *request) sandbox() string {
	if req.handler.Path != "" {
		return ""
	}
	return req.pod.ID
}

// setApplied copies the settings in effect from the spec to the record.
func (r *Record) setApplied(made *specs.Spec) {
	r.Cgroup = made.Linux.CgroupsPath
	r.Resources = spec.Effective(made).GetLinux()
	r.User = spec.EffectiveUser(made).GetLinux()
}

// pidInPod returns the PID of a running container of the same pod, for namespace mode TARGET.
func (m *Manager) pidInPod(podID, id string) (uint32, error) {
	target, err := m.containers.Get(id)
	if err != nil {
		return 0, fmt.Errorf("target of the PID namespace: %w", err)
	}
	if target.PodID != podID {
		return 0, fmt.Errorf("target of the PID namespace: %s is in another pod: %w", target, errdefs.ErrInvalidArgument)
	}
	if !target.running() {
		return 0, fmt.Errorf("target of the PID namespace: %s is %s: %w", target, stateName(target), errdefs.ErrFailedPrecondition)
	}
	return target.PID, nil
}

func (m *Manager) streamOptions(r *Record) containerio.Options {
	logName := r.Config.GetLogPath()
	if r.LogDir == "" {
		logName = ""
	}
	opts := containerio.Options{
		ID:        r.ID,
		Dir:       m.Dirs.Container(r.ID).IO(),
		Log:       containerlog.Destination{Dir: r.LogDir, Name: logName, MaxLine: m.Logs.MaxLine()},
		Terminal:  r.Config.GetTty(),
		Stdin:     r.Config.GetStdin(),
		StdinOnce: r.Config.GetStdinOnce(),
	}
	if r.Runtime.Pipes != "" {
		opts.Dir, opts.Prefix = r.Runtime.Pipes, r.ID+"-"
	}
	if r.Runtime.ShimWritesLog {
		opts.ShimLogs = m.Logs.ShimWritten
	}
	return opts
}

func checkReady(p *pod.Record) error {
	if p.State != pod.Ready {
		return fmt.Errorf("the pod is %s, only a ready pod accepts containers: %w", p.State, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// containerLabels merges the labels of the image that containerd accepts with those of the request,
// which take precedence. If the labels of the image exceed maxImageLabels, all of them are dropped.
func containerLabels(asked, ofImage map[string]string) map[string]string {
	all := make(map[string]string, len(asked)+len(ofImage))
	size := 0
	for key, value := range ofImage {
		if labels.Validate(key, value) == nil {
			all[key] = value
			size += len(key) + len(value)
		}
	}
	if size > maxImageLabels {
		clear(all)
	}
	maps.Copy(all, asked)
	return all
}
