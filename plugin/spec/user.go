// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"fmt"
	"math"
	"slices"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// user writes the user of the process and its groups. The primary group is always one of the
// additional groups: a file that denies access to the group must also deny it to a process that
// changes its primary group later (CVE-2023-25173).
func (b *builder) user() error {
	groups := []uint32{b.in.User.GID}
	if b.sc.GetSupplementalGroupsPolicy() == runtimeapi.SupplementalGroupsPolicy_Merge {
		groups = append(groups, b.in.User.AdditionalGIDs...)
	}
	err := errors.Join(
		checkGroupsPolicy(b.sc.GetSupplementalGroupsPolicy()),
		checkIDs("linux.security_context.supplemental_groups", b.sc.GetSupplementalGroups()),
	)
	if err != nil {
		return err
	}
	for _, gid := range b.sc.GetSupplementalGroups() {
		groups = append(groups, uint32(gid))
	}
	slices.Sort(groups)
	groups = slices.Compact(groups)
	if err := b.checkMapped(groups); err != nil {
		return err
	}
	u := &b.spec.Process.User
	u.UID, u.GID, u.AdditionalGids = b.in.User.UID, b.in.User.GID, groups
	return nil
}

func checkGroupsPolicy(policy runtimeapi.SupplementalGroupsPolicy) error {
	if _, known := runtimeapi.SupplementalGroupsPolicy_name[int32(policy)]; !known {
		return invalid("linux.security_context.supplemental_groups_policy", "%d is unknown", policy)
	}
	return nil
}

func checkIDs(field string, ids []int64) error {
	for i, id := range ids {
		if err := checkID(fmt.Sprintf("%s[%d]", field, i), id); err != nil {
			return err
		}
	}
	return nil
}

// checkID accepts the range of ids that Kubernetes allows.
func checkID(field string, id int64) error {
	if id < 0 || id > math.MaxInt32 {
		return invalid(field, "%d is not between 0 and %d", id, math.MaxInt32)
	}
	return nil
}

// checkMapped refuses ids that the user namespace of the pod does not map. The error of the runtime
// would be a plain EINVAL.
func (b *builder) checkMapped(groups []uint32) error {
	if b.ids.empty() {
		return nil
	}
	if u := b.in.User; !mapped(b.ids.uids, u.UID) {
		return invalid("linux.security_context.run_as_user", "user %d (%q) is not mapped in the pod's user namespace", u.UID, u.Name)
	}
	for _, gid := range groups {
		if !mapped(b.ids.gids, gid) {
			return invalid("linux.security_context.supplemental_groups", "group %d is not mapped in the pod's user namespace", gid)
		}
	}
	return nil
}
