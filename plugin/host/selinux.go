// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/selinux/go-selinux"
	"github.com/opencontainers/selinux/go-selinux/label"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// selinuxLevel matches an MLS/MCS level: s0, s0-s1, s0:c1,c2, s0:c0.c1023.
var selinuxLevel = regexp.MustCompile(`^s\d(-s\d)?(:c\d{1,4}(\.c\d{1,4})?(,c\d{1,4}(\.c\d{1,4})?)*)?$`)

// SELinux allocates labels. A pod and its containers share the same categories. No other pod gets
// these until the last container and the pod are removed. The library go-selinux also lists the
// categories in use, but it does not count their users. SELinux is safe for concurrent use.
type SELinux struct {
	mu    sync.Mutex
	users map[string]int // number of users by level
}

// NewSELinux returns an allocator of labels. If SELinux is disabled in the configuration or the
// kernel, all labels are empty. categories is the size of the range to choose categories from; 0
// means 1024.
func NewSELinux(enable bool, categories int) (*SELinux, error) {
	s := &SELinux{users: make(map[string]int)}
	if !enable {
		selinux.SetDisabled()
		return s, nil
	}
	if categories > 0 {
		if err := selinux.SetCategoryRange(uint32(categories)); err != nil {
			return nil, fmt.Errorf("selinux_category_range: %d: %w", categories, err)
		}
	}
	return s, nil
}

// Labels returns the labels of a new pod or container. podLabel is the process label of the pod; a
// container without options gets the same label. The caller releases the labels with
// [SELinux.Release].
func (s *SELinux) Labels(options *runtimeapi.SELinuxOption, podLabel string) (spec.Labels, error) {
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
	s.Reserve(process)
	return spec.Labels{Process: process, Mount: mount}, nil
}

// Reserve adds a user to the categories of a process label, for a pod or container that existed
// before the daemon started.
func (s *SELinux) Reserve(process string) {
	level := levelOf(process)
	if level == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[level]++
	// Ignore the error: another pod may have the same categories, since a pod can request a level.
	_ = selinux.ReserveLabelV2(process)
}

// Release removes a user from the categories of a process label.
func (s *SELinux) Release(process string) {
	level := levelOf(process)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[level] > 1 {
		s.users[level]--
		return
	}
	if _, inUse := s.users[level]; inUse {
		delete(s.users, level)
		selinux.ReleaseLabel(process)
	}
}

func levelOf(process string) string {
	context, err := selinux.NewContext(process)
	if err != nil {
		return ""
	}
	return context["level"]
}

// VMLabel returns the process label of a container, converted to that of a virtual machine if the
// runtime starts one.
func VMLabel(process, runtimeType string) (string, error) {
	if process == "" || !strings.HasPrefix(runtimeType, "io.containerd.kata") {
		return process, nil
	}
	vm, err := selinux.SetProcessKind(process, selinux.ProcessKindKVM)
	if err != nil {
		return "", fmt.Errorf("selinux label of a virtual machine: %w", err)
	}
	return vm, nil
}

// Relabel sets the mount label on a file or tree. Filesystems without labels are not changed.
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
