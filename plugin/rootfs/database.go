// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

const (
	passwdFile = "/etc/passwd"
	groupFile  = "/etc/group"
	// maxFileBytes and maxLineBytes bound both files; real ones are far smaller than 1 MiB
	// (CVE-2026-47262).
	maxFileBytes = 10 << 20
	maxLineBytes = 1 << 20
	// maxGroups is the kernel's NGROUPS_MAX.
	maxGroups = 65536
)

// account has the used fields of a line of /etc/passwd: name:password:uid:gid:gecos:home:shell.
type account struct {
	name     string
	uid, gid uint32
}

// group has the used fields of a line of /etc/group: name:password:gid:members.
type group struct {
	name    string
	gid     uint32
	members string // separated by commas; there may be very many
}

// parseAccount and parseGroup ignore a line whose ids are not numbers in range, as C libraries do.
// github.com/moby/sys/user would read such ids as 0, which is root, and keep every line of a file
// in memory.
func parseAccount(line string) (account, bool) {
	f := strings.SplitN(line, ":", 5)
	if len(f) < 4 {
		return account{}, false
	}
	uid, uidErr := strconv.ParseUint(f[2], 10, idBits)
	gid, gidErr := strconv.ParseUint(f[3], 10, idBits)
	return account{f[0], uint32(uid), uint32(gid)}, uidErr == nil && gidErr == nil
}

func parseGroup(line string) (group, bool) {
	f := append(strings.SplitN(line, ":", 4), "") // the list of members may be missing
	if len(f) < 4 {
		return group{}, false
	}
	gid, err := strconv.ParseUint(f[2], 10, idBits)
	return group{f[0], uint32(gid), f[3]}, err == nil
}

func (g group) lists(name string) bool {
	for member := range strings.SplitSeq(g.members, ",") {
		if member == name {
			return true
		}
	}
	return false
}

// findUser returns the first account in /etc/passwd that matches.
func findUser(root string, match func(account) bool) (a account, found bool, err error) {
	err = eachLine(root, passwdFile, func(line string) bool {
		next, ok := parseAccount(line)
		if found = ok && match(next); found {
			a = next
		}
		return !found
	})
	return a, found, err
}

// findGroup returns the first group in /etc/group with this name.
func findGroup(root, name string) (g group, found bool, err error) {
	err = eachLine(root, groupFile, func(line string) bool {
		next, ok := parseGroup(line)
		if found = ok && next.name == name; found {
			g = next
		}
		return !found
	})
	return g, found, err
}

// groupsOf returns the ids of the groups in /etc/group that list the user, without the group that
// has the name of the user. A user without a name is in no group.
func groupsOf(root, name string) (gids []uint32, err error) {
	if name == "" {
		return nil, nil
	}
	err = eachLine(root, groupFile, func(line string) bool {
		g, ok := parseGroup(line)
		if ok && g.name != name && g.lists(name) {
			gids = append(gids, g.gid)
		}
		return len(gids) <= maxGroups
	})
	if err == nil && len(gids) > maxGroups {
		err = broken("%s: the user is in more than %d groups", groupFile, maxGroups)
	}
	if err != nil {
		return nil, err
	}
	return gids, nil
}

// eachLine calls visit for the lines of a file below root until visit returns false. Space around a
// line is removed. An absent file has no lines.
func eachLine(root, path string, visit func(line string) (more bool)) error {
	f, err := openFile(root, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	if err := scan(f, visit); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func scan(f *os.File, visit func(line string) (more bool)) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > maxFileBytes {
		return broken("has %d bytes, the maximum is %d", info.Size(), maxFileBytes)
	}
	lines := bufio.NewScanner(io.LimitReader(f, maxFileBytes))
	lines.Buffer(nil, maxLineBytes)
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); !strings.HasPrefix(line, "#") && !visit(line) {
			return nil
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return broken("has a line of more than %d bytes", maxLineBytes)
	}
	return lines.Err()
}
