// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestProcessOwner(t *testing.T) {
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1 << 20, Size: 1000}, {ContainerID: 1000, HostID: 1 << 21, Size: 10}}
	for _, test := range []struct {
		uids, gids []specs.LinuxIDMapping
		user       specs.User
		uid, gid   uint32
		ok         bool
	}{
		{uids: ids, gids: ids, uid: 1 << 20, gid: 1 << 20, ok: true},
		{uids: ids, gids: ids, user: specs.User{UID: 1003, GID: 7}, uid: 1<<21 + 3, gid: 1<<20 + 7, ok: true},
		{uids: ids, gids: ids, user: specs.User{UID: 1010}, gid: 1 << 20},
		{user: specs.User{UID: 1000}},
	} {
		s := &specs.Spec{
			Process: &specs.Process{User: test.user},
			Linux:   &specs.Linux{UIDMappings: test.uids, GIDMappings: test.gids},
		}
		uid, gid, ok := ProcessOwner(s)
		if ok != test.ok || uid != test.uid || gid != test.gid {
			t.Errorf("owner of %+v: %d, %d, %v; want %d, %d, %v", test.user, uid, gid, ok, test.uid, test.gid, test.ok)
		}
	}
}
