// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"bytes"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/network"
)

// networkReadings are the counters of the interfaces in a network namespace, but
// for the loopback.
type networkReadings struct {
	at         int64 // Unix nanoseconds
	interfaces []netInterface
}

type netInterface struct {
	name   string
	rx, tx traffic
}

type traffic struct{ bytes, packets, errors, dropped num }

// The fields of a line of /proc/net/dev after the interface's name: eight that
// were received, eight that were sent.
const (
	columnBytes = iota
	columnPackets
	columnErrors
	columnDropped

	columnsEach = 8
)

// network reads the counters in a pinned network namespace.
func (b *buffers) network(netns string) (n networkReadings, err error) {
	err = network.InNetNS(netns, func() error {
		b.in("/proc/thread-self/net", func(d dir) {
			n = networkReadings{at: time.Now().UnixNano(), interfaces: parseNetDev(d.content("dev"))}
		})
		return nil
	})
	return n, err
}

func parseNetDev(content []byte) (interfaces []netInterface) {
	for line := range bytes.Lines(content) {
		name, rest, ok := bytes.Cut(line, []byte{':'})
		columns := bytes.Fields(rest)
		if !ok || len(columns) < 2*columnsEach { // a headline, or cut off
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

// message has eth0 as the default interface, or the first.
func (n networkReadings) message() *runtimeapi.NetworkUsage {
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
