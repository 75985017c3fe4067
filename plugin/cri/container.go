// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
)

// CreateContainer creates a container in a pod.
func (s *Server) CreateContainer(ctx context.Context, req *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	id, err := s.Containers.Create(ctx, req.GetPodSandboxId(), req.GetConfig())
	if err != nil {
		return nil, err
	}
	return &runtimeapi.CreateContainerResponse{ContainerId: id}, nil
}

// StartContainer starts a created container.
func (s *Server) StartContainer(ctx context.Context, req *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error) {
	if err := s.Containers.Start(ctx, req.GetContainerId()); err != nil {
		return nil, err
	}
	return &runtimeapi.StartContainerResponse{}, nil
}

// StopContainer stops a container: it sends the stop signal, and SIGKILL after timeout seconds.
func (s *Server) StopContainer(ctx context.Context, req *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	if err := s.Containers.Stop(ctx, req.GetContainerId(), seconds(req.GetTimeout())); err != nil {
		return nil, err
	}
	return &runtimeapi.StopContainerResponse{}, nil
}

// RemoveContainer kills and removes a container.
func (s *Server) RemoveContainer(ctx context.Context, req *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	if err := s.Containers.Remove(ctx, req.GetContainerId()); err != nil {
		return nil, err
	}
	return &runtimeapi.RemoveContainerResponse{}, nil
}

// UpdateContainerResources changes the limits of a container. It ignores the annotations of the
// request.
func (s *Server) UpdateContainerResources(ctx context.Context, req *runtimeapi.UpdateContainerResourcesRequest) (*runtimeapi.UpdateContainerResourcesResponse, error) {
	if req.GetWindows() != nil {
		return nil, fmt.Errorf("container %s: windows: this runtime serves Linux containers only: %w", req.GetContainerId(), errdefs.ErrInvalidArgument)
	}
	if err := s.Containers.UpdateResources(ctx, req.GetContainerId(), req.GetLinux()); err != nil {
		return nil, err
	}
	return &runtimeapi.UpdateContainerResourcesResponse{}, nil
}

// ReopenContainerLog makes a container write to a new log file.
func (s *Server) ReopenContainerLog(ctx context.Context, req *runtimeapi.ReopenContainerLogRequest) (*runtimeapi.ReopenContainerLogResponse, error) {
	if err := s.Containers.ReopenLog(ctx, req.GetContainerId()); err != nil {
		return nil, err
	}
	return &runtimeapi.ReopenContainerLogResponse{}, nil
}

// ContainerStatus returns the status of a container.
func (s *Server) ContainerStatus(ctx context.Context, req *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	r, err := s.Containers.Get(req.GetContainerId())
	if err != nil {
		return nil, err
	}
	answer := &runtimeapi.ContainerStatusResponse{Status: s.containerStatus(r)}
	if req.GetVerbose() {
		inspected, err := s.Containerd.Inspect(ctx, r.ID)
		if err != nil {
			return nil, fmt.Errorf("%s: spec: %w", r, err)
		}
		if answer.Info, err = verbose(containerInfo(r, inspected, s.ShowEnvValues())); err != nil {
			return nil, fmt.Errorf("%s: %w", r, err)
		}
	}
	return answer, nil
}

// ListContainers lists the containers that match a filter.
func (s *Server) ListContainers(_ context.Context, req *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	return &runtimeapi.ListContainersResponse{Containers: s.containerItems(req.GetFilter())}, nil
}

func (s *Server) containerItems(f *runtimeapi.ContainerFilter) []*runtimeapi.Container {
	var items []*runtimeapi.Container
	for _, r := range s.Containers.Select(func(r *container.Record) bool { return containerMatches(r, f) }) {
		items = append(items, containerItem(r))
	}
	return items
}

func containerMatches(r *container.Record, f *runtimeapi.ContainerFilter) bool {
	return hasIDPrefix(r.ID, f.GetId()) &&
		hasIDPrefix(r.PodID, f.GetPodSandboxId()) &&
		(f.GetState() == nil || f.GetState().GetState() == r.State()) &&
		hasLabels(r.Config.GetLabels(), f.GetLabelSelector())
}

// containerItem returns a container as lists have it. As in the built-in CRI, the image is not
// looked up: the item has the image as the caller named it, and the image's id as ImageRef and
// ImageId.
func containerItem(r *container.Record) *runtimeapi.Container {
	return &runtimeapi.Container{
		Id:           r.ID,
		PodSandboxId: r.PodID,
		Metadata:     r.Config.GetMetadata(),
		Image:        r.Config.GetImage(),
		ImageRef:     r.Image.ID,
		ImageId:      r.Image.ID,
		State:        r.State(),
		CreatedAt:    r.Times.Created,
		Labels:       r.Config.GetLabels(),
		Annotations:  r.Config.GetAnnotations(),
	}
}

// imageOf returns the image and image_ref of a container's status: the image's first tag, and its
// first repo digest, which the kubelet publishes as imageID. Without a tag, the image is shown as
// the caller named it; without a digest, image_ref is the image's id. Both apply to an image that
// was removed.
func (s *Server) imageOf(r *container.Record) (spec *runtimeapi.ImageSpec, ref string) {
	spec, ref = r.Config.GetImage(), r.Image.ID
	img, _ := s.Images.ByID(r.Image.ID)
	if len(img.Tags) > 0 {
		spec = &runtimeapi.ImageSpec{Image: img.Tags[0]}
	}
	if len(img.Digests) > 0 {
		ref = img.Digests[0]
	}
	return spec, ref
}

func (s *Server) containerStatus(r *container.Record) *runtimeapi.ContainerStatus {
	image, ref := s.imageOf(r)
	status := &runtimeapi.ContainerStatus{
		Id:          r.ID,
		Metadata:    r.Config.GetMetadata(),
		State:       r.State(),
		CreatedAt:   r.Times.Created,
		StartedAt:   r.Times.Started,
		FinishedAt:  r.Times.Finished,
		ExitCode:    r.Exit.Code,
		Image:       image,
		ImageRef:    ref,
		ImageId:     r.Image.ID,
		Reason:      r.Exit.Reason,
		Message:     r.Exit.Message,
		Labels:      r.Config.GetLabels(),
		Annotations: r.Config.GetAnnotations(),
		Mounts:      r.Mounts(),
		LogPath:     r.LogPath(),
		StopSignal:  r.CRIStopSignal(),
	}
	if r.Resources != nil {
		status.Resources = &runtimeapi.ContainerResources{Linux: r.Resources}
	}
	if r.User != nil {
		status.User = &runtimeapi.ContainerUser{Linux: r.User}
	}
	return status
}
