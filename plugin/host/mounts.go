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

// Missing selects how to handle a mount whose host path does not exist.
type Missing int

const (
	// CreateMissing creates a directory, as the built-in CRI does and Docker did.
	CreateMissing Missing = iota
	// RefuseMissing returns an error of class NotFound, as the CRI requires (Mount.host_path).
	RefuseMissing
)

// ResolveMounts returns the source of each mount, with symbolic links resolved. It creates nothing:
// it marks missing sources that may be created, and [MakeMissing] creates them after the whole
// request is checked. The source of an image mount is empty, because it is known only when the
// image is mounted.
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

// MakeMissing creates the sources that ResolveMounts marked as missing: directories with mode 0755.
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

// resolve resolves the symbolic links of an absolute path. Errors are InvalidArgument for an
// invalid path, and NotFound for one that does not exist.
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

// resolveMissing resolves the part of a path that exists. A dangling symbolic link is an error: its
// target is not created.
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

// propagation returns the propagation of the mount that contains a resolved path: the mount with
// the longest mount point. Of several mounts at that point it is the last, which hides the others.
func propagation(table []*mountinfo.Info, path string) (shared, slave bool) {
	var at *mountinfo.Info
	for _, m := range table {
		if contains(m.Mountpoint, path) && (at == nil || len(m.Mountpoint) >= len(at.Mountpoint)) {
			at = m
		}
	}
	if at == nil {
		return false, false
	}
	for field := range strings.FieldsSeq(at.Optional) {
		shared = shared || strings.HasPrefix(field, "shared:")
		slave = slave || strings.HasPrefix(field, "master:")
	}
	return shared, slave
}

func contains(mountpoint, path string) bool {
	return mountpoint == "/" || path == mountpoint || strings.HasPrefix(path, mountpoint+"/")
}
