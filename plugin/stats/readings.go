// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// num is a number; nil means not known.
type num = *runtimeapi.UInt64Value

// readings are the values in the files of a cgroup at one time. Both the statistics and the metrics
// are made from them. Sizes are in bytes, times in nanoseconds.
type readings struct {
	at      int64 // Unix time
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
	shares                            num
	// period and quota are in microseconds. quota is nil for no limit.
	period, quota num
	psi           *runtimeapi.PsiStats
}

type memoryReadings struct {
	usage, peak, limit  num
	limitHits           num // failures to charge memory
	kernel              num
	swap, swapAvailable num
	swapLimit           num // with cgroup v1, the limit of memory and swap together
	reservation         num
	high, max, oomKills num // events
	stat                memoryStat
	psi                 *runtimeapi.PsiStats
}

// memoryStat has the values of memory.stat that are used.
type memoryStat struct {
	cache, rss, mapped           num
	activeFile, inactiveFile     num
	dirty, writeback             num
	scanned, stolen              num // pages
	refaultedFile, refaultedAnon num // pages
	own, all                     faults
}

// faults are page faults: of the processes in a cgroup, or also of those in cgroups below it.
type faults struct{ minor, major num }

type ioReadings struct {
	devices []device
	psi     *runtimeapi.PsiStats
}

// device has the I/O of a block device. Operations are Read and Write; cgroup v1 also has Sync,
// Async, Discard and Total.
type device struct {
	name            string // /dev/sda
	major, minor    uint64
	bytes, requests []operation
	usage, wait     num // of the I/O cost controller of cgroup v2
	inDebt, inDelay num
}

type operation struct {
	name string
	n    num
}

// taskReadings counts tasks, which are threads.
type taskReadings struct{ current, limit num }

// hugePages is the usage of huge pages of one size, such as "2MB".
type hugePages struct {
	size                  string
	usage, peak, failures num
}

// unlimited is above every limit that has a meaning. cgroup v1 has no word for "no limit": it
// reports the largest number, rounded to pages.
const unlimited = 1 << 62

// bounded returns a limit, or nil if there is none.
func bounded(limit num) num {
	if limit.GetValue() >= unlimited {
		return nil
	}
	return limit
}

func value(n uint64) num { return &runtimeapi.UInt64Value{Value: n} }

// micro converts microseconds into nanoseconds.
func micro(n num) num {
	if n == nil {
		return nil
	}
	return value(n.Value * uint64(time.Microsecond))
}

// less returns a − b, but not less than 0: the two were not read at the same moment.
func less(a, b num) num {
	if a == nil || b == nil {
		return nil
	}
	return value(a.Value - min(a.Value, b.Value))
}

// plus adds two numbers. One of them may be unknown.
func plus(a, b num) num {
	if a == nil && b == nil {
		return nil
	}
	return value(a.GetValue() + b.GetValue())
}
