// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// num is a number that nil stands for when it is not known.
type num = *runtimeapi.UInt64Value

// readings are what the files of a cgroup say at one time: the one pass that the
// statistics and the metrics are made from. Sizes are in bytes, times in
// nanoseconds.
type readings struct {
	at      int64 // Unix
	cpu     cpuReadings
	memory  memoryReadings
	io      ioReadings
	tasks   taskReadings
	hugetlb []hugePages
}

type cpuReadings struct {
	usage, user, system               num
	periods, throttledPeriods, bursts num // of the bandwidth controller
	throttled, burst                  num
	period, quota, shares             num // what is allowed: microseconds; quota is nil for no limit
	psi                               *runtimeapi.PsiStats
}

type memoryReadings struct {
	usage, peak, limit  num
	limitHits           num // failures to charge memory
	kernel              num
	swap, swapAvailable num
	swapLimit           num // of cgroup v1: with memory
	reservation         num
	high, max, oomKills num // events
	stat                memoryStat
	psi                 *runtimeapi.PsiStats
}

// memoryStat is the part of memory.stat that is wanted.
type memoryStat struct {
	cache, rss, mapped           num
	activeFile, inactiveFile     num
	dirty, writeback             num
	scanned, stolen              num // pages
	refaultedFile, refaultedAnon num // pages
	own, all                     faults
}

// faults are page faults: of the processes of a cgroup, or also of those below it.
type faults struct{ minor, major num }

type ioReadings struct {
	devices []device
	psi     *runtimeapi.PsiStats
}

// device is what was read from and written to a block device. Operations are
// Read and Write; cgroup v1 has Sync, Async, Discard and Total, too.
type device struct {
	name            string // /dev/sda
	major, minor    uint64
	bytes, requests []operation
	usage, wait     num // of the cost controller of cgroup v2
	inDebt, inDelay num
}

type operation struct {
	name string
	n    num
}

// taskReadings count tasks, which are threads.
type taskReadings struct{ current, limit num }

// hugePages are those of one size, such as "2MB".
type hugePages struct {
	size                  string
	usage, peak, failures num
}

// unlimited is above every limit that means something. cgroup v1 has no word for
// "no limit" but the largest number, rounded to pages.
const unlimited = 1 << 62

// bounded returns a limit, or nil if there is none.
func bounded(limit num) num {
	if limit.GetValue() >= unlimited {
		return nil
	}
	return limit
}

func value(n uint64) num { return &runtimeapi.UInt64Value{Value: n} }

// micro turns microseconds into nanoseconds.
func micro(n num) num {
	if n == nil {
		return nil
	}
	return value(n.Value * uint64(time.Microsecond))
}

// less is a − b, but never below 0: the two were not read at the same time.
func less(a, b num) num {
	if a == nil || b == nil {
		return nil
	}
	return value(a.Value - min(a.Value, b.Value))
}

// plus adds two numbers, of which one may be unknown.
func plus(a, b num) num {
	if a == nil && b == nil {
		return nil
	}
	return value(a.GetValue() + b.GetValue())
}
