// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/continuity"
	"github.com/containerd/errdefs"
	gocni "github.com/containerd/go-cni"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
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

// versionedStatus is the content of a status file.
type versionedStatus struct {
	Version string
	containerStatus
}

func readStatus(path string) (containerStatus, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return containerStatus{}, err
	}
	var s versionedStatus
	if err := json.Unmarshal(data, &s); err != nil {
		return containerStatus{}, fmt.Errorf("decode %s: %w", path, err)
	}
	return s.containerStatus, checkVersion("status", s.Version)
}

// writeStatus writes the state of a container into its status file.
func writeStatus(path string, r *container.Record) error {
	data, err := json.Marshal(versionedStatus{version, containerStatus{
		Pid:        r.PID,
		CreatedAt:  r.Times.Created,
		StartedAt:  r.Times.Started,
		FinishedAt: r.Times.Finished,
		ExitCode:   r.Exit.Code,
		Reason:     r.Exit.Reason,
		Message:    r.Exit.Message,
		Resources:  &runtimeapi.ContainerResources{Linux: r.Resources},
	}})
	if err != nil {
		return fmt.Errorf("encode status for the built-in CRI: %w", err)
	}
	// Without the directory, no exit could be recorded, and the container not be removed.
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write status for the built-in CRI: %w", err)
	}
	if err := continuity.AtomicWriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("write status for the built-in CRI: %w", err)
	}
	return nil
}
