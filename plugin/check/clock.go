// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// clockSource is the earliest time that a clock can show: the year of this source.
var clockSource = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clock checks the time of day, on which TLS certificates and tokens depend.
func clock(context.Context, Node) []Finding { return clockAt(time.Now(), isSynchronized()) }

func clockAt(now time.Time, synchronized bool) []Finding {
	switch {
	case now.Before(clockSource):
		return []Finding{failure("timedatectl set-ntp true, or date -s TIME",
			"the clock shows %s: registries and the API server are refused, because their certificates are not valid yet", now.UTC().Format(time.DateTime))}
	case !synchronized:
		return []Finding{warning("timedatectl set-ntp true", "the clock is not synchronized: certificates and tokens may be refused")}
	}
	return []Finding{ok("the clock is synchronized")}
}

// isSynchronized reports whether the kernel knows that a time service disciplines the clock. It is
// true, too, if the kernel does not answer.
func isSynchronized() bool {
	state, err := unix.Adjtimex(&unix.Timex{})
	return err != nil || state != unix.TIME_ERROR
}
