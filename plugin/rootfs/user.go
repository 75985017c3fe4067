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
	// idBits is the size of the ids that runc accepts: 0 to 2147483647. A larger id must not wrap
	// around to 0, which is root (CVE-2024-40635).
	idBits = 31
	// maxUserBytes bounds USER of an image in bytes, because errors contain it. Linux allows login
	// names of 256 bytes.
	maxUserBytes = 1024
)

// ResolveUser returns the user that a container runs as: that of the CRI's security context, else
// imageUser (USER in the configuration of the image: user or user:group, each a name or number),
// else root. root is the mounted root filesystem.
//
// A number needs no entry in /etc/passwd. Without a group, the user gets the group of its entry, or
// 0 if it has no entry. The groups that list the user in /etc/group are added only with the
// supplemental groups policy Merge (KEP-3619). This is the behaviour of the built-in CRI with two
// exceptions: lines whose ids are not numbers are ignored, and a USER such as "+1000", "0x0" or
// "00" is refused.
//
// Errors are InvalidArgument if the request or USER is malformed, and FailedPrecondition if the
// image lacks the user or group, or has no usable /etc/passwd or /etc/group.
func ResolveUser(root string, sc *runtimeapi.LinuxContainerSecurityContext, imageUser string) (spec.User, error) {
	wanted, err := requestedUser(sc, imageUser)
	if err != nil {
		return spec.User{}, err
	}
	u, err := wanted.lookUp(root)
	if err != nil {
		return spec.User{}, fmt.Errorf("%s: %w", wanted.source, err)
	}
	if sc.GetSupplementalGroupsPolicy() == runtimeapi.SupplementalGroupsPolicy_Merge {
		u.AdditionalGIDs, err = groupsOf(root, u.Name)
		if err != nil {
			return spec.User{}, fmt.Errorf("groups of user %q: %w", u.Name, err)
		}
	}
	return u, nil
}

// CheckUser returns the errors of [ResolveUser] that can be found without a root filesystem.
func CheckUser(sc *runtimeapi.LinuxContainerSecurityContext, imageUser string) error {
	wanted, err := requestedUser(sc, imageUser)
	if err != nil {
		return err
	}
	for _, name := range []string{wanted.user, wanted.group} {
		if name == "" {
			continue
		}
		if _, _, err := parseID(name); err != nil {
			return fmt.Errorf("%s: %w", wanted.source, err)
		}
	}
	return nil
}

// identity is the user to look up. user and group are names or numbers. An empty group means the
// group in the user's entry of /etc/passwd.
type identity struct {
	source      string // the requesting field, for errors
	user, group string
}

// requestedUser returns the user that the CRI or the image requests. The CRI must not set a group
// without a user.
func requestedUser(sc *runtimeapi.LinuxContainerSecurityContext, imageUser string) (identity, error) {
	wanted := identity{source: "run_as_username", user: sc.GetRunAsUsername()}
	if uid := sc.GetRunAsUser(); wanted.user == "" && uid != nil {
		wanted = identity{source: "run_as_user", user: strconv.FormatInt(uid.GetValue(), 10)}
	}
	gid := sc.GetRunAsGroup()
	switch {
	case wanted.user == "" && gid != nil:
		return identity{}, invalid("run_as_group: %d needs run_as_user or run_as_username", gid.GetValue())
	case wanted.user == "":
		return imageIdentity(imageUser)
	case len(wanted.user) > maxUserBytes || strings.Contains(wanted.user, ":"):
		return identity{}, invalid("run_as_username: is not a user name")
	case gid != nil:
		wanted.group = strconv.FormatInt(gid.GetValue(), 10)
	}
	return wanted, nil
}

// imageIdentity parses USER of the image. An empty USER means 0:0. An empty user or group beside
// the colon means 0, too.
func imageIdentity(imageUser string) (identity, error) {
	if len(imageUser) > maxUserBytes {
		return identity{}, invalid("image user: has %d bytes, the maximum is %d", len(imageUser), maxUserBytes)
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

func (wanted identity) lookUp(root string) (spec.User, error) {
	uid, isNumber, err := parseID(wanted.user)
	if err != nil {
		return spec.User{}, err
	}
	entry, found, err := findUser(root, func(a account) bool { return isNumber && a.uid == uid || !isNumber && a.name == wanted.user })
	switch {
	case err != nil:
		return spec.User{}, err
	case !found && !isNumber:
		return spec.User{}, broken("%s has no valid entry for user %q", passwdFile, wanted.user)
	case !found:
		entry.uid = uid
	}
	u := spec.User{UID: entry.uid, GID: entry.gid, Name: entry.name}
	if wanted.group != "" {
		u.GID, err = wanted.lookUpGroup(root)
	}
	return u, err
}

func (wanted identity) lookUpGroup(root string) (uint32, error) {
	gid, isNumber, err := parseID(wanted.group)
	if err != nil || isNumber {
		return gid, err
	}
	g, found, err := findGroup(root, wanted.group)
	if err == nil && !found {
		err = broken("%s has no valid entry for group %q", groupFile, wanted.group)
	}
	return g.gid, err
}

// parseID distinguishes ids, which are plain decimal numbers, from names. It refuses an ambiguous
// string such as "4294967296" or "+1000": as a name, it could be root in the image's /etc/passwd,
// while other programs parse it as a number and see another user (CVE-2026-46680).
func parseID(s string) (id uint32, isNumber bool, err error) {
	if isPlain(s) {
		n, err := strconv.ParseUint(s, 10, idBits)
		if err != nil {
			return 0, false, invalid("%s exceeds the largest id", s)
		}
		return uint32(n), true, nil
	}
	_, err = strconv.ParseInt(s, 0, 64) // base 0 parses 0x10, too
	if err == nil || !strings.ContainsFunc(s, func(r rune) bool { return r == '_' || unicode.IsLetter(r) }) {
		return 0, false, invalid("%q is neither a name nor an id", s)
	}
	return 0, false, nil
}

// isPlain reports whether s is a decimal number. Leading zeros are allowed, but zero itself must be
// "0".
func isPlain(s string) bool {
	return s == "0" || strings.Trim(s, "0") != "" && strings.Trim(s, "0123456789") == ""
}
