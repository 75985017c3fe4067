// SPDX-License-Identifier: Apache-2.0

package enter

import (
	"errors"
	"strconv"
	"strings"
)

// compareLabels returns an error unless the new process will have the label of the container's
// init.
func (r *Request) compareLabels() error {
	const label = "/attr/current"
	ours, oursErr := readFile("/proc/self" + label)
	theirs, theirsErr := readFile("/proc/" + strconv.FormatUint(r.InitPID, 10) + label)
	if !errors.Is(oursErr, theirsErr) || !sameAfterExec(string(ours), string(theirs), r.AppArmorProfile) {
		return errors.New("a process of this shim would not get the label of the container's init")
	}
	return nil
}

// sameAfterExec reports whether a process that has the label ours, and executes a program, then has
// the label theirs. profile is the AppArmor profile that is set for the execution, or "" for none:
// then the label is inherited, with any Linux Security Module.
//
// A profile requires that ours is unconfined: only then may the process change to any profile. No
// other module has this label, so a node with SELinux uses the runtime.
func sameAfterExec(ours, theirs, profile string) bool {
	if profile == "" {
		return ours == theirs
	}
	theirs = strings.TrimSuffix(theirs, "\n")
	if mode := strings.LastIndex(theirs, " ("); mode >= 0 { // for example "(enforce)"
		theirs = theirs[:mode]
	}
	return ours == "unconfined\n" && theirs == profile
}

// setAppArmorProfile sets the profile under which this thread's child executes its program.
func (r *Request) setAppArmorProfile() error {
	if r.AppArmorProfile == "" {
		return nil
	}
	return writeFile("/proc/thread-self/attr/apparmor/exec", "exec "+r.AppArmorProfile)
}
