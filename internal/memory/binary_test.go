// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnmodifiedMappings(t *testing.T) {
	const smaps = `00400000-00956000 r-xp 00000000 fe:00 17 /usr/bin/my shim
Rss:                1152 kB
Anonymous:             0 kB
00956000-00fdc000 r--p 00556000 fe:00 17 /usr/bin/my shim
Anonymous:             0 kB
00fdc000-01054000 rw-p 00bdc000 fe:00 17 /usr/bin/my shim
Anonymous:             0 kB
02000000-02001000 r--p 00bdd000 fe:00 17 /usr/bin/my shim
Anonymous:             4 kB
03000000-03001000 r--p 00000000 fe:00 18 /usr/bin/shim
Anonymous:             0 kB
7f2526609000-7f252668b000 r--p 00000000 00:00 0
Anonymous:             0 kB
VmFlags: rd ex mr mw me sd
`
	want := []mapping{{0x400000, 0x956000}, {0x956000, 0xfdc000}}
	if diff := cmp.Diff(want, unmodified(strings.NewReader(smaps), "/usr/bin/my shim"), cmp.AllowUnexported(mapping{})); diff != "" {
		t.Errorf("mappings (-want +got):\n%s", diff)
	}
}

// TestReleaseBinary checks that pages of the binary are unmapped and that the process continues:
// pages that it uses are mapped again.
func TestReleaseBinary(t *testing.T) {
	mapped := func() (kib int) {
		t.Helper()
		data, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, line, _ := strings.Cut(string(data), "RssFile:")
		if _, err := fmt.Sscan(line, &kib); err != nil {
			t.Fatal(err)
		}
		return kib
	}
	before := mapped()
	ReleaseBinary()
	if after := mapped(); after >= before {
		t.Errorf("%d KiB of files are mapped, %d before", after, before)
	}
}
