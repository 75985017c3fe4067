// SPDX-License-Identifier: Apache-2.0

package enter

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// withHome adds HOME from the container's passwd file if it is not set. Every error but a missing
// file is returned: with another HOME the process would differ from one that runc starts.
func withHome(env []string, uid uint64) ([]string, error) {
	if _, ok := lookUp(env, "HOME"); ok {
		return env, nil
	}
	passwd, err := readFile("/etc/passwd")
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, err
	}
	home, err := homeOf(passwd, uid)
	if err != nil {
		return nil, err
	}
	return append(env, "HOME="+home), nil
}

func lookUp(env []string, name string) (string, bool) {
	for _, variable := range env {
		if key, value, _ := strings.Cut(variable, "="); key == name {
			return value, true
		}
	}
	return "", false
}

// passwdFields is the number of fields of a line of the passwd file, and maxLine its maximum length
// in bytes.
const (
	passwdFields = 7
	maxLine      = 32 << 10
)

// homeOf returns the home directory of a user (passwd(5)), or "/" if the user has no line. A line
// that runtimes read in different ways is an error.
func homeOf(passwd []byte, uid uint64) (string, error) {
	for line := range bytes.Lines(passwd) {
		text := strings.TrimSpace(string(line))
		if text == "" {
			continue
		}
		fields := strings.Split(text, ":")
		if len(fields) != passwdFields || len(line) > maxLine {
			return "", errors.New("unusual line in the passwd file")
		}
		id, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			return "", errors.New("unusual line in the passwd file")
		}
		if id == uid {
			return fields[5], nil
		}
	}
	return "/", nil
}

// program is a program with its arguments as the kernel takes them.
type program struct {
	path *byte
	argv []*byte
	envp []*byte
}

func newProgram(args, env []string) (*program, error) {
	if len(args) == 0 {
		return nil, errors.New("no arguments")
	}
	file, err := find(args[0], env)
	if err != nil {
		return nil, fmt.Errorf("find program: %w", err)
	}
	p := &program{}
	if p.path, err = unix.BytePtrFromString(file); err != nil {
		return nil, err
	}
	if p.argv, err = syscall.SlicePtrFromStrings(args); err != nil {
		return nil, err
	}
	p.envp, err = syscall.SlicePtrFromStrings(env)
	return p, err
}

// find returns the path of a program. A name with a slash is a path; others are looked for in PATH.
func find(name string, env []string) (string, error) {
	if strings.IndexByte(name, '/') >= 0 {
		return name, executable(name)
	}
	if name == "" {
		return "", unix.ENOENT
	}
	search, _ := lookUp(env, "PATH")
	for dir := range strings.SplitSeq(search, ":") {
		if !strings.HasPrefix(dir, "/") {
			return "", errors.New("relative directory in PATH")
		}
		if file := path.Join(dir, name); executable(file) == nil {
			return file, nil
		}
	}
	return "", unix.ENOENT
}

// executable returns nil if the user of this thread may execute the file.
func executable(path string) error {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		return unix.EISDIR
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}
