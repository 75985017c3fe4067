// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Profile is a seccomp or AppArmor profile of a security context.
type Profile struct {
	Type runtimeapi.SecurityProfile_ProfileType
	// Ref is the file (seccomp) or the name (AppArmor) of a Localhost profile.
	Ref string
}

const (
	runtimeDefault = runtimeapi.SecurityProfile_RuntimeDefault
	unconfined     = runtimeapi.SecurityProfile_Unconfined
	localhost      = runtimeapi.SecurityProfile_Localhost

	localhostPrefix = "localhost/"

	appArmorField = "linux.security_context.apparmor"
)

// Seccomp returns the seccomp profile of a container. If none is requested, the profile is unset,
// which is the value of the key unset_seccomp_profile. If unset is empty, the container is
// unconfined, as the CRI specifies. Privileged containers are always unconfined. For a Localhost
// profile the caller reads the file Ref.
func Seccomp(sc *runtimeapi.LinuxContainerSecurityContext, unset string) (Profile, error) {
	const field = "linux.security_context.seccomp"
	if sc.GetPrivileged() {
		return Profile{Type: unconfined}, nil
	}
	if p := sc.GetSeccomp(); p != nil {
		return profile(field, p)
	}
	if old := sc.GetSeccompProfilePath(); old != "" { //nolint:staticcheck // deprecated, but clients still send it
		return legacyProfile(field+"_profile_path", old)
	}
	if unset != "" {
		return legacyProfile("unset_seccomp_profile", unset)
	}
	return Profile{Type: unconfined}, nil
}

// AppArmor returns the AppArmor profile of a container. The default is the runtime's default
// profile, or unconfined for a privileged container. A Localhost profile applies to a privileged
// container, too (kubernetes#51746).
func AppArmor(sc *runtimeapi.LinuxContainerSecurityContext) (Profile, error) {
	p, err := requestedAppArmor(sc)
	return unconfineIfPrivileged(p, sc.GetPrivileged()), err
}

// PodAppArmor returns the AppArmor profile of the init of a pod, by the same rules.
func PodAppArmor(sc *runtimeapi.LinuxSandboxSecurityContext) (p Profile, err error) {
	p = Profile{Type: runtimeDefault}
	if wanted := sc.GetApparmor(); wanted != nil {
		p, err = profile(appArmorField, wanted)
	}
	return unconfineIfPrivileged(p, sc.GetPrivileged()), err
}

func unconfineIfPrivileged(p Profile, privileged bool) Profile {
	if privileged && p.Type == runtimeDefault {
		p.Type = unconfined
	}
	return p
}

func requestedAppArmor(sc *runtimeapi.LinuxContainerSecurityContext) (Profile, error) {
	if p := sc.GetApparmor(); p != nil {
		return profile(appArmorField, p)
	}
	if old := sc.GetApparmorProfile(); old != "" { //nolint:staticcheck // deprecated, but clients still send it
		return legacyProfile(appArmorField+"_profile", old)
	}
	return Profile{Type: runtimeDefault}, nil
}

func profile(field string, p *runtimeapi.SecurityProfile) (Profile, error) {
	ref := p.GetLocalhostRef()
	switch p.GetProfileType() {
	case runtimeDefault, unconfined:
		if ref != "" {
			return Profile{}, invalid(field+".localhost_ref", "is set, but the profile type is %v", p.GetProfileType())
		}
		return Profile{Type: p.GetProfileType()}, nil
	case localhost:
		return localProfile(field+".localhost_ref", ref)
	default:
		return Profile{}, invalid(field+".profile_type", "%d is unknown", p.GetProfileType())
	}
}

// legacyProfile parses the string form that the CRI had before SecurityProfile.
func legacyProfile(field, s string) (Profile, error) {
	switch s {
	case "runtime/default", "docker/default":
		return Profile{Type: runtimeDefault}, nil
	case "unconfined":
		return Profile{Type: unconfined}, nil
	}
	if !strings.HasPrefix(s, localhostPrefix) {
		return Profile{}, invalid(field, "%q is not runtime/default, unconfined or localhost/...", s)
	}
	return localProfile(field, s)
}

func localProfile(field, ref string) (Profile, error) {
	ref = strings.TrimPrefix(ref, localhostPrefix)
	if ref == "" {
		return Profile{}, invalid(field, "has no profile name")
	}
	return Profile{Type: localhost, Ref: ref}, checkText(field, ref)
}
