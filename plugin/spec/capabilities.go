// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/pkg/cap"
)

// allCapabilities in a list means every capability. It is applied before the other names of the
// list.
const allCapabilities = "ALL"

// defaultCapabilities returns the default list of Docker, which all Kubernetes runtimes use.
func defaultCapabilities() []string {
	return []string{
		"CAP_CHOWN",
		"CAP_DAC_OVERRIDE",
		"CAP_FSETID",
		"CAP_FOWNER",
		"CAP_MKNOD",
		"CAP_NET_RAW",
		"CAP_SETGID",
		"CAP_SETUID",
		"CAP_SETFCAP",
		"CAP_SETPCAP",
		"CAP_NET_BIND_SERVICE",
		"CAP_SYS_CHROOT",
		"CAP_KILL",
		"CAP_AUDIT_WRITE",
	}
}

// capabilities writes the capability sets. It clears the inheritable and ambient sets, also those
// of a base spec (CVE-2022-24769), except for ambient capabilities that the CRI asks for. These are
// added to all sets, because the kernel drops an ambient capability that is not permitted and
// inheritable.
func (b *builder) capabilities() error {
	change, err := b.capabilityChange()
	if err != nil {
		return err
	}
	c := b.spec.Process.Capabilities
	c.Bounding = change.apply(c.Bounding)
	c.Effective = change.apply(c.Effective)
	c.Permitted = change.apply(c.Permitted)
	c.Ambient = without(change.ambient, change.drop)
	c.Inheritable = slices.Clone(c.Ambient)
	return nil
}

// capabilityChange is the change that is applied to each capability set.
type capabilityChange struct {
	base               []string // replaces the set unless nil
	add, drop, ambient []string
}

func (b *builder) capabilityChange() (c capabilityChange, err error) {
	const field = "linux.security_context.capabilities."
	wanted := b.sc.GetCapabilities()
	var addAll, dropAll bool
	if c.add, addAll, err = capabilityNames(field+"add_capabilities", wanted.GetAddCapabilities()); err != nil {
		return c, err
	}
	if c.drop, dropAll, err = capabilityNames(field+"drop_capabilities", wanted.GetDropCapabilities()); err != nil {
		return c, err
	}
	var ambientAll bool
	if c.ambient, ambientAll, err = capabilityNames(field+"add_ambient_capabilities", wanted.GetAddAmbientCapabilities()); err != nil {
		return c, err
	}
	if ambientAll {
		return c, invalid(field+"add_ambient_capabilities", "ALL is not supported (list each capability)")
	}
	if addAll {
		c.base = b.in.Facts.Capabilities
	}
	if dropAll {
		c.base = []string{}
	}
	if b.sc.GetPrivileged() {
		c.base, c.drop = b.in.Facts.Capabilities, nil
	}
	return c, nil
}

func (c capabilityChange) apply(set []string) []string {
	if c.base != nil {
		set = c.base
	}
	set = slices.Clone(set)
	for _, name := range slices.Concat(c.add, c.ambient) {
		if !slices.Contains(set, name) {
			set = append(set, name)
		}
	}
	return without(set, c.drop)
}

func without(set, drop []string) []string {
	return slices.DeleteFunc(slices.Clone(set), func(name string) bool { return slices.Contains(drop, name) })
}

// capabilityNames returns the names in the kernel's form (CAP_NET_ADMIN), and whether ALL was among
// them. The CRI writes NET_ADMIN; net_admin and CAP_NET_ADMIN are accepted, too.
func capabilityNames(field string, wanted []string) (names []string, all bool, err error) {
	for i, name := range wanted {
		short := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
		if short == allCapabilities {
			all = true
			continue
		}
		if !slices.Contains(cap.Known(), "CAP_"+short) {
			return nil, false, invalid(fmt.Sprintf("%s[%d]", field, i), "%q is not a capability", name)
		}
		names = append(names, "CAP_"+short)
	}
	return names, all, nil
}
