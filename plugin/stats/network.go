// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"bytes"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/network"
)

// networkReadings are the counters of the interfaces in a network namespace, without the loopback
// interface.
type networkReadings struct {
	at         int64 // Unix nanoseconds
	interfaces []netInterface
}

type netInterface struct {
	name   string
	rx, tx traffic
}

type traffic struct{ bytes, packets, errors, dropped num }

// The fields of a line of /proc/net/dev after the interface's name: eight for reception, eight for
// transmission.
const (
	columnBytes = iota
	columnPackets
	columnErrors
	columnDropped

	columnsEach = 8
)

// network reads the counters in a pinned network namespace: through one of the processes in pids,
// if it is in the namespace, otherwise by entering the namespace. The latter needs a thread and
// takes ten times as long.
func (r *Reader) network(netns string, pids []uint32) (n networkReadings, err error) {
	for _, pid := range pids {
		if n, ok := r.networkOf(pid, netns); ok {
			return n, nil
		}
	}
	err = network.InNetNS(netns, func() error {
		r.buffers.withOpenDir("/proc/thread-self", func(d dir) { n = readNetDev(d) })
		return nil
	})
	return n, err
}

// networkOf reads the counters through a process. It returns false if the process is not in the
// network namespace. A PID may be reused at any time: the open directory in /proc stays that of the
// checked process, and is empty when that process is gone.
func (r *Reader) networkOf(pid uint32, netns string) (n networkReadings, ok bool) {
	r.buffers.withOpenDir(filepath.Join(r.root, "proc", strconv.FormatUint(uint64(pid), 10)), func(d dir) {
		var want, got unix.Stat_t
		if unix.Stat(netns, &want) != nil || unix.Fstatat(d.fd, "ns/net", &got, 0) != nil {
			return
		}
		if want.Dev == got.Dev && want.Ino == got.Ino {
			n = readNetDev(d)
			ok = n.at != 0
		}
	})
	return n, ok
}

// readNetDev reads net/dev in a directory of /proc.
func readNetDev(d dir) networkReadings {
	content, ok := d.read("net/dev")
	if !ok {
		return networkReadings{}
	}
	return networkReadings{at: time.Now().UnixNano(), interfaces: parseNetDev(content)}
}

func parseNetDev(content []byte) (interfaces []netInterface) {
	for line := range bytes.Lines(content) {
		name, rest, ok := bytes.Cut(line, []byte{':'})
		columns := bytes.Fields(rest)
		if !ok || len(columns) < 2*columnsEach { // a header, or a truncated line
			continue
		}
		if name = bytes.TrimSpace(name); string(name) != "lo" {
			interfaces = append(interfaces, netInterface{
				name: string(name),
				rx:   newTraffic(columns[:columnsEach]),
				tx:   newTraffic(columns[columnsEach:]),
			})
		}
	}
	return interfaces
}

func newTraffic(columns [][]byte) traffic {
	return traffic{
		bytes:   parseNumber(columns[columnBytes]),
		packets: parseNumber(columns[columnPackets]),
		errors:  parseNumber(columns[columnErrors]),
		dropped: parseNumber(columns[columnDropped]),
	}
}

// message returns the counters in the form of the CRI. The default interface is eth0, or else the
// first. It returns nil without interfaces: the kubelet dereferences the default interface of every
// network usage that it gets.
func (n networkReadings) message() *runtimeapi.NetworkUsage {
	if len(n.interfaces) == 0 {
		return nil
	}
	usage := &runtimeapi.NetworkUsage{Timestamp: n.at}
	for _, i := range n.interfaces {
		one := &runtimeapi.NetworkInterfaceUsage{
			Name:     i.name,
			RxBytes:  i.rx.bytes,
			RxErrors: i.rx.errors,
			TxBytes:  i.tx.bytes,
			TxErrors: i.tx.errors,
		}
		usage.Interfaces = append(usage.Interfaces, one)
		if usage.DefaultInterface == nil || i.name == "eth0" {
			usage.DefaultInterface = one
		}
	}
	return usage
}
