// SPDX-License-Identifier: Apache-2.0

package fastexec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// allowed are the fields of config.json (OCI runtime specification, config.md) that a container may
// have, by the reason why an exec can ignore them or what does them. A field stands for everything
// below it. Every other field must have its zero value.
var allowed = []string{
	// For the init only; `runc exec` does not read them either.
	"annotations", "domainname", "hooks", "hostname", "mounts", "ociVersion", "root",
	"linux.devices", "linux.maskedPaths", "linux.netDevices", "linux.readonlyPaths",
	"linux.rootfsPropagation", "linux.sysctl",
	"process.args", "process.capabilities", "process.cwd", "process.env", "process.noNewPrivileges",
	"process.rlimits", "process.terminal", "process.consoleSize",
	"process.user.additionalGids", "process.user.gid", "process.user.uid",

	// The exec joins the cgroup and the namespaces.
	"linux.cgroupsPath", "linux.namespaces", "linux.resources",

	// New reads them.
	"process.apparmorProfile", "process.oomScoreAdj", "process.user.umask",
}

// allowedInExec are the fields that the process of an exec may have. `runc exec` ignores the last
// line: the values of the container's init apply to an exec, too.
var allowedInExec = []string{
	"apparmorProfile", "args", "capabilities", "cwd", "env", "noNewPrivileges", "rlimits",
	"user.additionalGids", "user.gid", "user.uid",
	"oomScoreAdj", "user.umask",
}

// parse decodes config.json. A field that this version of the specification does not have is an
// error.
func parse(config []byte) (*specs.Spec, error) {
	decoder := json.NewDecoder(bytes.NewReader(config))
	decoder.DisallowUnknownFields()
	spec := &specs.Spec{}
	if err := decoder.Decode(spec); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("config.json: more than one value")
	}
	return spec, nil
}

// onlyAllowed returns an error that names a field of v that is set and not in the list.
func onlyAllowed(v any, list []string) error {
	return walk(reflect.ValueOf(v), "", list)
}

func walk(v reflect.Value, path string, list []string) error {
	if v.IsZero() || slices.Contains(list, path) {
		return nil
	}
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct || !leads(path, list) {
		return fmt.Errorf("%s is set", path)
	}
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if path != "" {
			name = path + "." + name
		}
		if err := walk(v.Field(i), name, list); err != nil {
			return err
		}
	}
	return nil
}

// leads reports whether a field of the list is below path. An empty struct of another path, such as
// a seccomp filter without rules, is as bad as one with content.
func leads(path string, list []string) bool {
	return path == "" || slices.ContainsFunc(list, func(field string) bool { return strings.HasPrefix(field, path+".") })
}
