// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

const (
	// idBits is the size of the ids that runc takes: 0 to 2147483647. A greater one must not wrap
	// around to root's (CVE-2024-40635).
	idBits = 31
	// maxUserBytes bounds the text of an image's USER, which ends up in errors. Linux takes login
	// names of 256 bytes.
	maxUserBytes = 1024
)

// ResolveUser returns the user that a container runs as: the one of the CRI's security context,
// else imageUser (USER in the image's configuration: user, user:group, each by name or number),
// else root. root is the mounted root filesystem.
//
// A number needs no entry in /etc/passwd. Without a group the user gets the one of its entry, or 0
// if it has none. The groups that list the user in /etc/group are added under the supplemental
// groups policy Merge only (KEP-3619). All this is what the built-in CRI does, except that lines
// with ids that are no numbers do not count, and that a USER such as "+1000", "0x0" or "00" is
// refused.
//
// Errors are InvalidArgument where the request or USER is malformed, FailedPrecondition where the
// image lacks the user or group or has no usable /etc/passwd or /etc/group.
func ResolveUser(root string, sc *runtimeapi.LinuxContainerSecurityContext, imageUser string) (spec.User, error) {
	asked, err := askedUser(sc, imageUser)
	if err != nil {
		return spec.User{}, err
	}
	u, err := asked.lookUp(root)
	if err != nil {
		return spec.User{}, fmt.Errorf("%s: %w", asked.source, err)
	}
	if sc.GetSupplementalGroupsPolicy() == runtimeapi.SupplementalGroupsPolicy_Merge {
		u.AdditionalGIDs, err = groupsOf(root, u.Name)
		if err != nil {
			return spec.User{}, fmt.Errorf("groups of user %q: %w", u.Name, err)
		}
	}
	return u, nil
}

// CheckUser says whether [ResolveUser] can be asked for this user, before there is a root
// filesystem to look into.
func CheckUser(sc *runtimeapi.LinuxContainerSecurityContext, imageUser string) error {
	asked, err := askedUser(sc, imageUser)
	if err != nil {
		return err
	}
	for _, name := range []string{asked.user, asked.group} {
		if name == "" {
			continue
		}
		if _, _, err := parseID(name); err != nil {
			return fmt.Errorf("%s: %w", asked.source, err)
		}
	}
	return nil
}

// identity is a user as asked for: names or numbers. An empty group is the one that /etc/passwd has
// for the user.
type identity struct {
	source      string // the field that asks, for errors
	user, group string
}

// askedUser decides who is asked for. The CRI has no group without a user.
func askedUser(sc *runtimeapi.LinuxContainerSecurityContext, imageUser string) (identity, error) {
	asked := identity{source: "run_as_username", user: sc.GetRunAsUsername()}
	if uid := sc.GetRunAsUser(); asked.user == "" && uid != nil {
		asked = identity{source: "run_as_user", user: strconv.FormatInt(uid.GetValue(), 10)}
	}
	gid := sc.GetRunAsGroup()
	switch {
	case asked.user == "" && gid != nil:
		return identity{}, invalid("run_as_group: %d needs a run_as_user or run_as_username beside it", gid.GetValue())
	case asked.user == "":
		return askedByImage(imageUser)
	case len(asked.user) > maxUserBytes || strings.Contains(asked.user, ":"):
		return identity{}, invalid("run_as_username: is not the name of a user")
	case gid != nil:
		asked.group = strconv.FormatInt(gid.GetValue(), 10)
	}
	return asked, nil
}

// askedByImage reads the image's USER. No USER means 0:0, and so does an empty side of the colon
// for that side.
func askedByImage(imageUser string) (identity, error) {
	if len(imageUser) > maxUserBytes {
		return identity{}, invalid("image user: has %d bytes", len(imageUser))
	}
	user, group, hasGroup := strings.Cut(imageUser, ":")
	if strings.Contains(group, ":") {
		return identity{}, invalid("image user: %q is not user or user:group", imageUser)
	}
	if group == "" && (hasGroup || user == "") {
		group = "0"
	}
	if user == "" {
		user = "0"
	}
	return identity{source: "image user", user: user, group: group}, nil
}

func (asked identity) lookUp(root string) (spec.User, error) {
	uid, isNumber, err := parseID(asked.user)
	if err != nil {
		return spec.User{}, err
	}
	entry, found, err := findUser(root, func(a account) bool { return isNumber && a.uid == uid || !isNumber && a.name == asked.user })
	switch {
	case err != nil:
		return spec.User{}, err
	case !found && !isNumber:
		return spec.User{}, broken("%s has no valid entry for user %q", passwdFile, asked.user)
	case !found:
		entry.uid = uid
	}
	u := spec.User{UID: entry.uid, GID: entry.gid, Name: entry.name}
	if asked.group != "" {
		u.GID, err = asked.lookUpGroup(root)
	}
	return u, err
}

func (asked identity) lookUpGroup(root string) (uint32, error) {
	gid, isNumber, err := parseID(asked.group)
	if err != nil || isNumber {
		return gid, err
	}
	g, found, err := findGroup(root, asked.group)
	if err == nil && !found {
		err = broken("%s has no valid entry for group %q", groupFile, asked.group)
	}
	return g.gid, err
}

// parseID tells an id in plain decimal from a name. What could be taken for either is refused:
// looked up as a name, an image's /etc/passwd could make root of "4294967296" or "+1000" while
// others read a number in it and see somebody else (CVE-2026-46680).
func parseID(s string) (id uint32, isNumber bool, err error) {
	if isPlain(s) {
		n, err := strconv.ParseUint(s, 10, idBits)
		if err != nil {
			return 0, false, invalid("%s is greater than any id", s)
		}
		return uint32(n), true, nil
	}
	_, err = strconv.ParseInt(s, 0, 64) // understands 0x10, too
	if err == nil || !strings.ContainsFunc(s, func(r rune) bool { return r == '_' || unicode.IsLetter(r) }) {
		return 0, false, invalid("%q is neither a name nor an id", s)
	}
	return 0, false, nil
}

// isPlain reports whether s is a decimal number with nothing but zeros before it. Root is "0" only.
func isPlain(s string) bool {
	return s == "0" || strings.Trim(s, "0") != "" && strings.Trim(s, "0123456789") == ""
}
