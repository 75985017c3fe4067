// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"bytes"
	"testing"
)

// FuzzParsers feeds arbitrary content to the parsers of files: they do not crash, and find no more
// entries than words.
func FuzzParsers(f *testing.F) {
	f.Add([]byte(cgroupV2["io.stat"]))
	f.Add([]byte(cgroupV2["io.pressure"]))
	f.Add([]byte("8:0 Read 4096\nTotal 4096\n"))
	f.Add([]byte(netHead + netLo + netEth0))
	f.Fuzz(func(t *testing.T, content []byte) {
		words := len(bytes.Fields(content))
		if n := len(parseIOStat(content)); n > words {
			t.Errorf("%d devices in %d words", n, words)
		}
		var o ioReadings
		parseBlkio(content, func(major, minor uint64, op operation) {
			v := o.device(major, minor)
			v.bytes = append(v.bytes, op)
		})
		for i, v := range o.devices {
			if o.device(v.major, v.minor) != &o.devices[i] {
				t.Errorf("device %d:%d is there twice", v.major, v.minor)
			}
		}
		for _, i := range parseNetDev(content) {
			if i.name == "lo" {
				t.Error("the loopback interface is there")
			}
		}
		for line := range bytes.Lines(content) {
			psiData(line)
		}
	})
}
