// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/containerd/containerd/v2/contrib/apparmor"
	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/regular"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// maxProfile bounds a seccomp profile in bytes; containerd's default has 15 KiB.
const maxProfile = 4 << 20

const appArmorProfiles = "/sys/kernel/security/apparmor/profiles"

// ReadSeccompProfile returns the content of the file of a Localhost profile, and nil for other
// types.
func ReadSeccompProfile(p spec.Profile) ([]byte, error) {
	if p.Type != runtimeapi.SecurityProfile_Localhost {
		return nil, nil
	}
	path, err := resolve(p.Ref)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	data, err := regular.Read(path, maxProfile)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	return data, nil
}

// LoadAppArmor ensures that the kernel has the profile. It loads the default profile. A Localhost
// profile must be loaded already.
func LoadAppArmor(p spec.Profile) error {
	switch p.Type {
	case runtimeapi.SecurityProfile_RuntimeDefault:
		if err := apparmor.LoadDefaultProfile(spec.DefaultAppArmorProfile); err != nil {
			return fmt.Errorf("apparmor profile %s: %w", spec.DefaultAppArmorProfile, err)
		}
	case runtimeapi.SecurityProfile_Localhost:
		f, err := os.Open(appArmorProfiles)
		if err != nil {
			return fmt.Errorf("apparmor profiles: %w", err)
		}
		defer f.Close()
		if err := findProfile(f, p.Ref); err != nil {
			return fmt.Errorf("apparmor profile %s: %w", p.Ref, err)
		}
	}
	return nil
}

// findProfile looks for the line `name (mode)`.
func findProfile(profiles io.Reader, name string) error {
	lines := bufio.NewScanner(profiles)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), name+" (") {
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return fmt.Errorf("is not loaded (see apparmor_parser(8)): %w", errdefs.ErrNotFound)
}

// readHostFile reads a file of /etc. The file may be missing.
func readHostFile(path string, limit int64) ([]byte, error) {
	data, err := regular.Read(path, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}
