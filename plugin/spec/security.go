// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"encoding/json"
	"fmt"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// DefaultAppArmorProfile is the name of the runtime's default AppArmor profile. The built-in CRI
// uses the same name.
const DefaultAppArmorProfile = "cri-containerd.apparmor.d"

// seccomp writes the seccomp filter.
func (b *builder) seccomp() error {
	p, err := Seccomp(b.sc, b.in.Options.UnsetSeccompProfile)
	if err != nil {
		return err
	}
	const field = "linux.security_context.seccomp"
	switch {
	case b.sc.GetPrivileged():
		b.spec.Linux.Seccomp = nil
	case p.Type == unconfined: // keep the filter of the base spec
	case !b.in.Facts.Seccomp:
		return unmet(field, "the kernel does not support seccomp filters")
	case p.Type == runtimeDefault:
		b.spec.Linux.Seccomp = seccomp.DefaultProfile(b.spec)
	default:
		filter := &specs.LinuxSeccomp{}
		if err := json.Unmarshal(b.in.SeccompProfile, filter); err != nil {
			return invalid(field, "profile %s: %v", p.Ref, err)
		}
		if filter.DefaultAction == "" {
			return invalid(field, "profile %s has no defaultAction", p.Ref)
		}
		b.spec.Linux.Seccomp = filter
	}
	return nil
}

// apparmor writes the name of the profile. The caller loads the default profile, and checks that a
// named one is loaded.
func (b *builder) apparmor() error {
	p, err := AppArmor(b.sc)
	if err != nil {
		return err
	}
	if b.sc.GetPrivileged() {
		b.spec.Process.ApparmorProfile = ""
	}
	if p.Type == unconfined { // keep the profile of the base spec
		return nil
	}
	name, err := p.appArmorName(b.in.Facts, requestsAppArmor(b.sc))
	if name != "" {
		b.spec.Process.ApparmorProfile = name
	}
	return err
}

// appArmorName returns the kernel's name of the profile; empty for none. requested means that the
// client named the profile: it is an error then if AppArmor is not enabled.
func (p Profile) appArmorName(facts Facts, requested bool) (string, error) {
	switch {
	case p.Type == unconfined:
		return "", nil
	case !facts.AppArmor && requested:
		return "", unmet(appArmorField, "AppArmor is not enabled")
	case !facts.AppArmor:
		return "", nil
	case p.Type == localhost:
		return p.Ref, nil
	}
	return DefaultAppArmorProfile, nil
}

func requestsAppArmor(sc *runtimeapi.LinuxContainerSecurityContext) bool {
	return sc.GetApparmor() != nil || sc.GetApparmorProfile() != "" //nolint:staticcheck // deprecated, but clients still send it
}

// selinux writes the labels. A privileged process has no process label, but its files have the
// mount label.
func (b *builder) selinux() error {
	b.spec.Linux.MountLabel = b.in.SELinux.Mount
	b.spec.Process.SelinuxLabel = b.in.SELinux.Process
	if b.sc.GetPrivileged() {
		b.spec.Process.SelinuxLabel = ""
	}
	return nil
}

// paths writes the masked and read-only paths below /proc and /sys. Lists of the CRI replace the
// defaults.
//
// An empty list has two meanings: the kubelet sends it for procMount: Unmasked, which Kubernetes
// allows with a user namespace only (KEP-4265); clients that do not know the lists leave them
// empty. So an empty list removes the masks in a user namespace, and keeps the defaults otherwise.
func (b *builder) paths() error {
	l := b.spec.Linux
	if b.sc.GetPrivileged() {
		l.MaskedPaths, l.ReadonlyPaths = nil, nil
		return nil
	}
	if b.in.Options.DisableProcMount {
		return nil
	}
	masked, err := checkPaths("linux.security_context.masked_paths", b.sc.GetMaskedPaths())
	if err != nil {
		return err
	}
	readonly, err := checkPaths("linux.security_context.readonly_paths", b.sc.GetReadonlyPaths())
	if err != nil {
		return err
	}
	if len(masked) > 0 || !b.ids.empty() {
		l.MaskedPaths = masked
	}
	if len(readonly) > 0 || !b.ids.empty() {
		l.ReadonlyPaths = readonly
	}
	return nil
}

func checkPaths(field string, paths []string) ([]string, error) {
	clean := make([]string, 0, len(paths))
	for i, p := range paths {
		c, err := checkPath(fmt.Sprintf("%s[%d]", field, i), p)
		if err != nil {
			return nil, err
		}
		clean = append(clean, c)
	}
	return clean, nil
}
