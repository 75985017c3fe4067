// SPDX-License-Identifier: Apache-2.0

package enter

import (
	"errors"
	"strconv"
	"strings"
)

// compareLabels requires that the process will be confined as the container's init is.
func (r *Request) compareLabels() error {
	const label = "/attr/current"
	ours, oursErr := readFile("/proc/self" + label)
	theirs, theirsErr := readFile("/proc/" + strconv.FormatUint(r.InitPID, 10) + label)
	if !errors.Is(oursErr, theirsErr) || !sameAfterExec(string(ours), string(theirs), r.AppArmorProfile) {
		return errors.New("the container has one of its own")
	}
	return nil
}

// sameAfterExec reports whether a process with the label ours has the label theirs when it has
// executed a program under an AppArmor profile, or without one if the profile is "".
//
// Without a profile it inherits the label, of whatever Linux Security Module. Only an unconfined
// process can change to any profile, and only AppArmor calls a process unconfined: with another
// module the runtime must decide.
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
