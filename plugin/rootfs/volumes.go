// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

const (
	// maxVolumes bounds the volumes of an image; each volume is a mount.
	maxVolumes   = 512
	maxPathBytes = 4095 // PATH_MAX without its NUL
)

// CopyVolumes creates the volumes that an image declares (volumes in its configuration), each in
// its own directory below dir, and returns them sorted by destination. If a mount of the CRI has
// the same destination as a volume, the mount replaces the volume. root is the mounted root
// filesystem; dir need not exist.
//
// A volume starts with the contents of the image at its path; without any, it is an empty directory
// of root with mode 0755. The copy preserves owners, modes, modification times, hard links,
// symbolic links, devices, holes in files, and the extended attributes of files and directories. It
// does not preserve the SELinux label, because the container gets its own. Nothing is synced to
// disk, because a container does not survive a reboot.
//
// After an error, which may be that of ctx, the caller removes dir. The error is InvalidArgument if
// the path cannot be a volume, and FailedPrecondition if the image has a file there that is not a
// directory.
func CopyVolumes(
	ctx context.Context, root string, declared map[string]struct{}, mounts []*runtimeapi.Mount, dir string,
) ([]spec.Volume, error) {
	volumes, err := planVolumes(declared, mounts, dir)
	if err != nil {
		return nil, err
	}
	for _, v := range volumes {
		if err := copyVolume(ctx, root, v); err != nil {
			return nil, fmt.Errorf("image volume %s: %w", v.Destination, err)
		}
	}
	return volumes, nil
}

// planVolumes returns the volumes to create. It creates nothing.
func planVolumes(declared map[string]struct{}, mounts []*runtimeapi.Mount, dir string) ([]spec.Volume, error) {
	if len(declared) > maxVolumes {
		return nil, invalid("image volumes: has %d, the maximum is %d", len(declared), maxVolumes)
	}
	taken := make(map[string]bool, len(mounts))
	for _, m := range mounts {
		taken[path.Join("/", m.GetContainerPath())] = true
	}
	// A set, because a path may be declared in two forms: /data, data/.
	destinations := make(map[string]bool, len(declared))
	for name := range declared {
		destination := path.Join("/", name)
		if taken[destination] {
			continue
		}
		if err := checkVolume(destination); err != nil {
			return nil, err
		}
		destinations[destination] = true
	}
	var volumes []spec.Volume
	for _, destination := range slices.Sorted(maps.Keys(destinations)) {
		volumes = append(volumes, spec.Volume{Source: filepath.Join(dir, volumeID(destination)), Destination: destination})
	}
	return volumes, nil
}

// checkVolume refuses paths that must not be mounted over: the root filesystem, and /proc, which
// the runtime and security modules use (CVE-2019-16884). /sys is allowed, because images with
// systemd declare /sys/fs/cgroup.
func checkVolume(destination string) error {
	switch {
	case len(destination) > maxPathBytes:
		return invalid("image volume: the path has %d bytes, the maximum is %d", len(destination), maxPathBytes)
	case strings.ContainsFunc(destination, unicode.IsControl):
		return invalid("image volume: %q has a control character", destination)
	case destination == "/", destination == "/proc", strings.HasPrefix(destination, "/proc/"):
		return invalid("image volume: %s cannot be a volume", destination)
	}
	return nil
}

// volumeID returns a valid file name for a destination.
func volumeID(destination string) string {
	sum := sha256.Sum256([]byte(destination))
	return hex.EncodeToString(sum[:16])
}

func copyVolume(ctx context.Context, root string, v spec.Volume) error {
	if err := os.MkdirAll(filepath.Dir(v.Source), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(v.Source, 0o700); err != nil {
		return err
	}
	content, err := openDir(root, v.Destination)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Chmod(v.Source, 0o755)
	}
	if err != nil {
		return err
	}
	defer content.Close()
	made, err := os.OpenRoot(v.Source)
	if err != nil {
		return err
	}
	defer made.Close()
	return copyTree(ctx, made, content)
}
