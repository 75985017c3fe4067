// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// container converts a container. Its task decides on its state afterwards, as for a record of ours
// (container.Manager.Recover).
func (s *Store) container(ctx context.Context, found runtime.BuiltIn) (*container.Record, error) {
	var m containerMetadata
	if err := decodeMetadata(found.Metadata, &m); err != nil {
		return nil, err
	}
	if m.ID != found.ID {
		return nil, fmt.Errorf("record belongs to container %q: %w", m.ID, errdefs.ErrDataLoss)
	}
	if m.Config.GetMetadata() == nil {
		return nil, fmt.Errorf("metadata has no config: %w", errdefs.ErrDataLoss)
	}
	handler := s.handlerOfPod(ctx, m.SandboxID) // without its pod, a container can only be removed
	dir := s.Paths.Container(m.ID)
	status, err := readStatus(dir.Status())
	if err != nil {
		log.L.WithError(err).WithField("container", m.ID).
			Warn("status file of the built-in CRI not read; start time and exit details of the container are lost, its task decides on its state")
		created := found.Created.UnixNano()
		status.containerStatus = containerStatus{CreatedAt: created, StartedAt: created}
	}
	r := &container.Record{
		ID:     m.ID,
		Name:   m.Name,
		PodID:  m.SandboxID,
		Config: m.Config,
		Image: container.Image{
			ID: m.ImageRef, Name: m.Config.GetImage().GetUserSpecifiedImage(), Ref: m.ImageName, Digest: m.ImageDigest,
		},
		Runtime:    container.Runtime{Handler: handler, Snapshotter: found.Snapshotter, BuiltIn: true},
		LogDir:     logDir(m),
		StopSignal: cmp.Or(m.StopSignal, "SIGTERM"),
		PID:        status.Pid,
		Times:      container.Times{Created: status.CreatedAt, Started: status.StartedAt, Finished: status.FinishedAt},
		Exit:       exitOf(status.containerStatus),
	}
	if r.Image.Name == "" {
		r.Image.Name = m.Config.GetImage().GetImage()
	}
	if _, h, err := s.Handlers.Handler(handler); err == nil && handler != "" {
		r.Runtime.ShimPath = h.Path
	}
	// The process of a container that counts as created may run: its start was not recorded.
	if r.State() != runtimeapi.ContainerState_CONTAINER_EXITED {
		r.Runtime.Pipes = pipesIn(dir.IO(), m.ID)
	}
	if found.Spec != nil && found.Spec.Linux != nil {
		r.Cgroup = found.Spec.Linux.CgroupsPath
		r.Resources = spec.Effective(found.Spec).GetLinux()
		r.User = spec.EffectiveUser(found.Spec).GetLinux()
		r.SELinux = spec.Labels{Process: m.ProcessLabel, Mount: found.Spec.Linux.MountLabel}
	}
	return r, nil
}

// handlerOfPod returns the runtime handler of a pod of the built-in CRI, or of a pod of ours in
// which the built-in CRI has created a container. It returns "" for other pods.
func (s *Store) handlerOfPod(ctx context.Context, id string) string {
	if adopted, ok := s.adopted(id); ok {
		return adopted.handler
	}
	s.ours.Do(func() {
		s.handlers = map[string]string{}
		records, err := s.Containerd.Sandboxes(ctx)
		if err != nil {
			log.G(ctx).WithError(err).Error("runtime handlers of pods not read; containers that containerd's built-in CRI created in them have none")
		}
		for _, saved := range records {
			var r pod.Record
			if json.Unmarshal(saved.JSON, &r) == nil {
				s.handlers[r.ID] = r.Handler
			}
		}
	})
	return s.handlers[id]
}

// exitOf returns how a container ended. Without a saved reason, the reason is that which the
// built-in CRI shows.
func exitOf(s containerStatus) container.Exit {
	exit := container.Exit{Code: s.ExitCode, Reason: s.Reason, Message: s.Message}
	switch {
	case s.FinishedAt == 0 || exit.Reason != "":
	case exit.Code == 0:
		exit.Reason = container.ReasonCompleted
	default:
		exit.Reason = container.ReasonError
	}
	return exit
}

// logDir returns the log directory of a container's pod, which the log path begins with.
func logDir(m containerMetadata) string {
	name := m.Config.GetLogPath()
	if name == "" {
		return ""
	}
	dir, _ := strings.CutSuffix(m.LogPath, filepath.Join("/", name))
	return dir
}

// pipesIn returns the directory of a container's pipes: the built-in CRI makes one with a random
// name at each start, in io. The newest is in use.
func pipesIn(io, id string) string {
	found, err := filepath.Glob(filepath.Join(io, "*", id+"-stdout"))
	if err != nil {
		return ""
	}
	newest, at := "", int64(0)
	for _, path := range found {
		info, err := os.Lstat(path)
		if err == nil && info.ModTime().UnixNano() >= at {
			newest, at = filepath.Dir(path), info.ModTime().UnixNano()
		}
	}
	return newest
}
