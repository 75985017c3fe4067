// SPDX-License-Identifier: Apache-2.0

package containerlog

import (
	"testing"

	"github.com/containerd/errdefs"
)

func FuzzURI(f *testing.F) {
	f.Add("/var/log/pods/default_web", "web/0.log", 16384)
	f.Add("", "", 0)
	f.Add("/a b&c=d?e#f", "ü/%41\n", -1)
	f.Fuzz(func(t *testing.T, dir, name string, maxLine int) {
		want := Destination{Dir: dir, Name: name, MaxLine: maxLine}
		if !IsURI(want.URI()) {
			t.Fatalf("IsURI(%q) = false", want.URI())
		}
		got, err := ParseURI(want.URI())
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", want.URI(), got, err, want)
		}
	})
}

func TestBadURI(t *testing.T) {
	for _, uri := range []string{
		"", "cri-log:", "fifo:///x", "cri-log:?dir=a&name=b", "cri-log:?dir=a&name=b&max=x", "cri-log:?dir=%zz&max=1",
	} {
		if got, err := ParseURI(uri); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %+v, %v; want an invalid argument", uri, got, err)
		}
	}
}
