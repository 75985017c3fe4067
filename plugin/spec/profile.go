// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Profile is a seccomp or AppArmor profile as a security context means it.
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

// Seccomp returns the seccomp profile of a container. Without any wish it is unconfined, as the CRI
// says, or what unset, the key unset_seccomp_profile, says. Privileged containers are always
// unconfined. For a Localhost profile the caller reads the file Ref.
func Seccomp(sc *runtimeapi.LinuxContainerSecurityContext, unset string) (Profile, error) {
	const field = "linux.security_context.seccomp"
	if sc.GetPrivileged() {
		return Profile{Type: unconfined}, nil
	}
	if p := sc.GetSeccomp(); p != nil {
		return profile(field, p)
	}
	if old := sc.GetSeccompProfilePath(); old != "" { //nolint:staticcheck // deprecated, but clients still send it
		return oldProfile(field+"_profile_path", old)
	}
	if unset != "" {
		return oldProfile("unset_seccomp_profile", unset)
	}
	return Profile{Type: unconfined}, nil
}

// AppArmor returns the AppArmor profile of a container. Without any wish it is the runtime's
// default, which privileged containers do not get; a profile named for a privileged container holds
// (kubernetes#51746).
func AppArmor(sc *runtimeapi.LinuxContainerSecurityContext) (Profile, error) {
	p, err := wantedAppArmor(sc)
	return lessPrivileged(p, sc.GetPrivileged()), err
}

// PodAppArmor returns the AppArmor profile of the init of a pod, by the same rules.
func PodAppArmor(sc *runtimeapi.LinuxSandboxSecurityContext) (p Profile, err error) {
	p = Profile{Type: runtimeDefault}
	if wanted := sc.GetApparmor(); wanted != nil {
		p, err = profile(appArmorField, wanted)
	}
	return lessPrivileged(p, sc.GetPrivileged()), err
}

func lessPrivileged(p Profile, privileged bool) Profile {
	if privileged && p.Type == runtimeDefault {
		p.Type = unconfined
	}
	return p
}

func wantedAppArmor(sc *runtimeapi.LinuxContainerSecurityContext) (Profile, error) {
	if p := sc.GetApparmor(); p != nil {
		return profile(appArmorField, p)
	}
	if old := sc.GetApparmorProfile(); old != "" { //nolint:staticcheck // deprecated, but clients still send it
		return oldProfile(appArmorField+"_profile", old)
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

// oldProfile reads the string form that the CRI had before SecurityProfile.
func oldProfile(field, s string) (Profile, error) {
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
		return Profile{}, invalid(field, "names no profile")
	}
	return Profile{Type: localhost, Ref: ref}, checkText(field, ref)
}
