// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"
	gocni "github.com/containerd/go-cni"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// version is the version of everything that the built-in CRI saves, from containerd 1.1 to 2.4.
const version = "v1"

// podMetadata is the metadata of a pod (internal/cri/store/sandbox, Metadata, in containerd).
type podMetadata struct {
	ID             string
	Name           string
	Config         *runtimeapi.PodSandboxConfig
	NetNSPath      string
	IP             string
	AdditionalIPs  []string
	RuntimeHandler string
	CNIResult      *gocni.Result
	ProcessLabel   string
}

// containerMetadata is the metadata of a container (internal/cri/store/container, Metadata).
type containerMetadata struct {
	ID           string
	Name         string
	SandboxID    string
	Config       *runtimeapi.ContainerConfig
	ImageRef     string // ID of the image
	ImageDigest  string // since containerd 2.4
	ImageName    string // since containerd 2.4
	LogPath      string
	StopSignal   string
	ProcessLabel string
}

// containerStatus is the file status of a container (internal/cri/store/container, Status). Times
// are Unix nanoseconds, and zero before they come.
type containerStatus struct {
	Pid        uint32
	CreatedAt  int64
	StartedAt  int64
	FinishedAt int64
	ExitCode   int32
	Reason     string
	Message    string
	Resources  *runtimeapi.ContainerResources
}

// updatedResources are the resources of a pod after an update
// (internal/cri/server/podsandbox, UpdatedResources).
type updatedResources struct {
	Overhead  *runtimeapi.LinuxContainerResources
	Resources *runtimeapi.LinuxContainerResources
	// Lite is true for a pod of ours whose record has the same resources; see statusFile.
	Lite bool `json:",omitempty"`
}

// decodeMetadata decodes the metadata of a pod or a container.
func decodeMetadata(data []byte, metadata any) error {
	var versioned struct {
		Version  string
		Metadata json.RawMessage
	}
	if err := json.Unmarshal(data, &versioned); err != nil {
		return fmt.Errorf("decode metadata: %w", err)
	}
	if err := checkVersion("metadata", versioned.Version); err != nil {
		return err
	}
	if err := json.Unmarshal(versioned.Metadata, metadata); err != nil {
		return fmt.Errorf("decode metadata: %w", err)
	}
	return nil
}

func checkVersion(object, v string) error {
	if v != version {
		return fmt.Errorf("version %q of the %s is not supported, only %s: %w", v, object, version, errdefs.ErrNotImplemented)
	}
	return nil
}

// EncodePod returns the metadata by which the built-in CRI finds a pod of ours.
func EncodePod(r *pod.Record) ([]byte, error) {
	return encodeMetadata(podMetadata{
		ID:             r.ID,
		Name:           r.Name,
		Config:         r.Config,
		NetNSPath:      r.Namespaces.Net,
		IP:             r.Network.IP,
		AdditionalIPs:  r.Network.AdditionalIPs,
		RuntimeHandler: r.Requested,
		CNIResult:      r.Network.CNI,
		ProcessLabel:   r.SELinux.Process,
	})
}

// encodeContainer returns the metadata by which the built-in CRI finds a container of ours.
func encodeContainer(r *container.Record) ([]byte, error) {
	config := r.Config
	if len(r.VolumeImages) > 0 {
		config = proto.CloneOf(config)
		config.Mounts = r.Mounts() // with the IDs of images
	}
	return encodeMetadata(containerMetadata{
		ID:           r.ID,
		Name:         r.Name,
		SandboxID:    r.PodID,
		Config:       config,
		ImageRef:     r.Image.ID,
		ImageDigest:  r.Image.Digest,
		ImageName:    r.Image.Ref,
		LogPath:      r.LogPath(),
		StopSignal:   r.StopSignal,
		ProcessLabel: r.SELinux.Process,
	})
}

func encodeMetadata(metadata any) ([]byte, error) {
	data, err := json.Marshal(struct {
		Version  string
		Metadata any
	}{version, metadata})
	if err != nil {
		return nil, fmt.Errorf("encode metadata for the built-in CRI: %w", err)
	}
	return data, nil
}
