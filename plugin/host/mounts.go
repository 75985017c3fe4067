// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/mountinfo"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// Missing says what to do about a mount whose host path does not exist.
type Missing int

const (
	// CreateMissing makes it a directory, as the built-in CRI does and Docker did.
	CreateMissing Missing = iota
	// RefuseMissing is an error of class NotFound, as the CRI asks for (Mount.host_path).
	RefuseMissing
)

// ResolveMounts returns the source of each mount, with its symbolic links followed. It changes
// nothing: sources that are missing and may be made are marked, for [MakeMissing] to make once the
// request is known to be good. The source of a mount of an image stays empty; whoever mounts the
// image knows it.
func ResolveMounts(mounts []*runtimeapi.Mount, missing Missing) ([]spec.MountSource, error) {
	var table []*mountinfo.Info
	sources := make([]spec.MountSource, len(mounts))
	for i, m := range mounts {
		if m.GetImage() != nil {
			continue
		}
		source, err := resolveSource(m.GetHostPath(), missing)
		if err != nil {
			return nil, fmt.Errorf("mounts[%d].host_path: %w", i, err)
		}
		if m.GetPropagation() != runtimeapi.MountPropagation_PROPAGATION_PRIVATE {
			if table == nil {
				if table, err = mountinfo.GetMounts(nil); err != nil {
					return nil, fmt.Errorf("mount table: %w", err)
				}
			}
			source.Shared, source.Slave = propagation(table, source.Path)
		}
		sources[i] = source
	}
	return sources, nil
}

// MakeMissing makes the sources that ResolveMounts marked as missing, as directories with mode
// 0755.
func MakeMissing(sources []spec.MountSource) error {
	for i, s := range sources {
		if !s.Missing {
			continue
		}
		if err := os.MkdirAll(s.Path, 0o755); err != nil {
			return fmt.Errorf("mounts[%d].host_path: %w", i, err)
		}
	}
	return nil
}

func resolveSource(path string, missing Missing) (spec.MountSource, error) {
	real, err := resolve(path)
	if err == nil {
		return spec.MountSource{Path: real}, nil
	}
	if missing == RefuseMissing || !errdefs.IsNotFound(err) {
		return spec.MountSource{}, err
	}
	real, err = resolveMissing(filepath.Clean(path))
	return spec.MountSource{Path: real, Missing: true}, err
}

// resolve follows the links of an absolute path. Errors are InvalidArgument for a path that can
// lead nowhere, NotFound for one that leads to nothing.
func resolve(path string) (string, error) {
	if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
		return "", fmt.Errorf("%q is not an absolute path: %w", path, errdefs.ErrInvalidArgument)
	}
	_, err := os.Stat(path)
	switch {
	case err == nil:
		return filepath.EvalSymlinks(path)
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%w: %w", err, errdefs.ErrNotFound)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ELOOP):
		return "", fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	return "", err
}

// resolveMissing resolves the part of the path that exists. A link that leads to nothing is not
// ours to complete.
func resolveMissing(path string) (string, error) {
	for dir := path; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		real, err := resolve(dir)
		if err != nil {
			return "", err
		}
		info, err := os.Stat(real)
		if err != nil {
			return "", err
		}
		if !info.IsDir() {
			return "", fmt.Errorf("%s is not a directory: %w", real, errdefs.ErrInvalidArgument)
		}
		return filepath.Join(real, strings.TrimPrefix(path, dir)), nil
	}
}

// propagation returns that of the mount on which a resolved path lives: the one with the longest
// mount point above it, and of several at the same point the last, which hides the others.
func propagation(table []*mountinfo.Info, path string) (shared, slave bool) {
	var on *mountinfo.Info
	for _, m := range table {
		if holds(m.Mountpoint, path) && (on == nil || len(m.Mountpoint) >= len(on.Mountpoint)) {
			on = m
		}
	}
	if on == nil {
		return false, false
	}
	for field := range strings.FieldsSeq(on.Optional) {
		shared = shared || strings.HasPrefix(field, "shared:")
		slave = slave || strings.HasPrefix(field, "master:")
	}
	return shared, slave
}

func holds(mountpoint, path string) bool {
	return mountpoint == "/" || path == mountpoint || strings.HasPrefix(path, mountpoint+"/")
}
