// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"regexp"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/selinux/go-selinux"
	"github.com/opencontainers/selinux/go-selinux/label"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// selinuxLevel is an MLS/MCS level: s0, s0-s1, s0:c1,c2, s0:c0.c1023.
var selinuxLevel = regexp.MustCompile(`^s\d(-s\d)?(:c\d{1,4}(\.c\d{1,4})?(,c\d{1,4}(\.c\d{1,4})?)*)?$`)

// NewLabels returns the SELinux labels of a pod or container, both empty where SELinux is off. A container without options of its own
// has its pod's, given as the pod's process label. The labels' categories are reserved until [ReleaseLabels].
func NewLabels(options *runtimeapi.SELinuxOption, podLabel string) (spec.Labels, error) {
	list, err := labelOptions(options)
	if err != nil {
		return spec.Labels{}, err
	}
	if len(list) == 0 && podLabel != "" {
		if list, err = selinux.DupSecOpt(podLabel); err != nil {
			return spec.Labels{}, fmt.Errorf("selinux label of the pod: %w", err)
		}
	}
	process, mount, err := label.InitLabels(list)
	if err != nil {
		return spec.Labels{}, fmt.Errorf("linux.security_context.selinux_options: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	return spec.Labels{Process: process, Mount: mount}, nil
}

// ReleaseLabels gives the categories of labels back.
func ReleaseLabels(l spec.Labels) {
	selinux.ReleaseLabel(l.Process)
}

// Relabel gives a file or tree to containers with that mount label. Filesystems without labels are left alone.
func Relabel(path, mountLabel string) error {
	if err := label.Relabel(path, mountLabel, false); err != nil && !errors.Is(err, syscall.ENOTSUP) {
		return fmt.Errorf("relabel %s: %w", path, err)
	}
	return nil
}

func labelOptions(o *runtimeapi.SELinuxOption) ([]string, error) {
	if level := o.GetLevel(); level != "" && !selinuxLevel.MatchString(level) {
		return nil, fmt.Errorf("linux.security_context.selinux_options.level: %q is not a level such as s0:c1,c2: %w",
			level, errdefs.ErrInvalidArgument)
	}
	var list []string
	for _, part := range []struct{ name, value string }{
		{"user", o.GetUser()},
		{"role", o.GetRole()},
		{"type", o.GetType()},
		{"level", o.GetLevel()},
	} {
		if part.value != "" {
			list = append(list, part.name+":"+part.value)
		}
	}
	return list, nil
}
