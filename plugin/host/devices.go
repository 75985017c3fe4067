// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxDeviceEntries bounds the walk of a directory that is requested as a device. /dev of a large
// machine has some thousand entries.
const maxDeviceEntries = 16384

// Devices returns all device nodes of the host, for privileged containers.
func Devices() ([]specs.LinuxDevice, error) {
	nodes, err := oci.HostDevices()
	if err != nil {
		return nil, fmt.Errorf("host devices: %w", err)
	}
	return nodes, nil
}

// ResolveDevices returns the nodes for each device of the CRI, with their paths in the container.
// It follows symbolic links; a directory stands for all nodes below it. Other files are
// InvalidArgument, missing files NotFound.
func ResolveDevices(devices []*runtimeapi.Device) ([][]specs.LinuxDevice, error) {
	var resolved [][]specs.LinuxDevice
	for i, d := range devices {
		nodes, err := resolveDevice(d)
		if err != nil {
			return nil, fmt.Errorf("devices[%d].host_path: %w", i, err)
		}
		resolved = append(resolved, nodes)
	}
	return resolved, nil
}

func resolveDevice(d *runtimeapi.Device) ([]specs.LinuxDevice, error) {
	hostPath, err := resolve(d.GetHostPath())
	if err != nil {
		return nil, err
	}
	containerPath := d.GetContainerPath()
	if containerPath == "" {
		containerPath = hostPath
	}
	info, err := os.Stat(hostPath)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return devicesBelow(hostPath, containerPath)
	}
	node, err := deviceNode(hostPath, containerPath)
	if errors.Is(err, oci.ErrNotADevice) {
		return nil, fmt.Errorf("%s is not a device: %w", hostPath, errdefs.ErrInvalidArgument)
	}
	if err != nil {
		return nil, err
	}
	return []specs.LinuxDevice{node}, nil
}

// devicesBelow returns the nodes in a directory and its subdirectories. It skips other files.
func devicesBelow(hostPath, containerPath string) ([]specs.LinuxDevice, error) {
	var nodes []specs.LinuxDevice
	entries := 0
	err := filepath.WalkDir(hostPath, func(p string, e fs.DirEntry, err error) error {
		if entries++; entries > maxDeviceEntries {
			return fmt.Errorf("%s has more than %d files: %w", hostPath, maxDeviceEntries, errdefs.ErrInvalidArgument)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed since the directory was read
		}
		if err != nil {
			return err
		}
		if e.Type()&fs.ModeDevice == 0 {
			return nil
		}
		below, err := filepath.Rel(hostPath, p)
		if err != nil {
			return err
		}
		node, err := deviceNode(p, filepath.Join(containerPath, below))
		if errors.Is(err, oci.ErrNotADevice) || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		nodes = append(nodes, node)
		return err
	})
	return nodes, err
}

// deviceNode returns a character or block device. FIFOs are refused, because the device cgroup does
// not control them.
func deviceNode(hostPath, containerPath string) (specs.LinuxDevice, error) {
	node, err := oci.DeviceFromPath(hostPath)
	if err != nil {
		return specs.LinuxDevice{}, err
	}
	if node.Type != "b" && node.Type != "c" {
		return specs.LinuxDevice{}, oci.ErrNotADevice
	}
	node.Path = containerPath
	return *node, nil
}
