// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// builtIn resolves a user as the built-in CRI does: with the same rules for the requested user and
// the same functions of containerd.
func builtIn(root string, sc *securityContext, image string) (specs.User, error) {
	name := sc.GetRunAsUsername()
	if name == "" && sc.GetRunAsUser() != nil {
		name = strconv.FormatInt(sc.GetRunAsUser().GetValue(), 10)
	}
	user := name
	if gid := sc.GetRunAsGroup(); gid != nil {
		user += ":" + strconv.FormatInt(gid.GetValue(), 10)
	}
	if name == "" {
		user = image
		name, _, _ = strings.Cut(image, ":")
	}
	if image == "" && name == "" {
		name = "0"
	}
	s := &specs.Spec{Process: &specs.Process{}, Root: &specs.Root{Path: root}, Linux: &specs.Linux{}}
	if user != "" {
		if err := oci.WithUser(user)(context.Background(), nil, &containers.Container{}, s); err != nil {
			return specs.User{}, err
		}
	}
	err := oci.WithAdditionalGIDs(name)(context.Background(), nil, &containers.Container{}, s)
	return s.Process.User, err
}

// comparable converts a result of ResolveUser to the user in containerd's spec, where the group of
// the user is one of the additional groups, too.
func comparable(u spec.User) specs.User {
	return specs.User{UID: u.UID, GID: u.GID, AdditionalGids: sorted(append(u.AdditionalGIDs, u.GID))}
}

func sorted(gids []uint32) []uint32 {
	slices.Sort(gids)
	return slices.Compact(gids)
}

func TestUsersMatchTheBuiltInCRI(t *testing.T) {
	passwd := "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:web:/:/bin/sh\nweb:x:2:2::/:/bin/sh\nother:x:1000:3::/:\nlast:x:2147483647:5"
	group := "root:x:0:\nadm:x:4:root,web\nweb:x:1001:web\nother:x:9:web\nwheel:x:10:root,last\nadm:x:5:last,root\nweb:x:6:other\n"
	contexts := []*securityContext{nil, {}}
	for _, user := range []int64{0, 1000, 1234, 2147483647} {
		contexts = append(contexts, &securityContext{RunAsUser: &id{Value: user}},
			&securityContext{RunAsUser: &id{Value: user}, RunAsGroup: &id{Value: 4}})
	}
	for _, name := range []string{"root", "web", "other", "last", "eve"} {
		contexts = append(contexts, &securityContext{RunAsUsername: name},
			&securityContext{RunAsUsername: name, RunAsUser: &id{Value: 3}, RunAsGroup: &id{}})
	}
	images := []string{
		"", "0", "root", "web", "1000", "1234", "web:4", "web:adm", "1000:4", "1000:web", "1234:0", "web:", "1000:", "other", "last", "last:wheel",
		"eve", "web:eve", "2147483648", "a:b:c",
	}
	for layout, root := range map[string]string{
		"both files":  files(t, map[string]string{"etc/passwd": passwd, "etc/group": group}),
		"no group":    files(t, map[string]string{"etc/passwd": passwd}),
		"no passwd":   files(t, map[string]string{"etc/group": group}),
		"no files":    t.TempDir(),
		"empty files": files(t, map[string]string{"etc/passwd": "", "etc/group": ""}),
		"links":       files(t, map[string]string{"etc": "-> /e", "e/passwd": "-> ../p", "p": passwd, "e/group": "-> /g", "g": group}),
	} {
		for _, sc := range contexts {
			for _, image := range images {
				got, err := ResolveUser(root, sc, image)
				want, wantErr := builtIn(root, sc, image)
				if (err == nil) != (wantErr == nil) {
					t.Errorf("%s, %v, %q: error %v, the error of the built-in CRI is %v", layout, sc, image, err, wantErr)
					continue
				}
				want.AdditionalGids = sorted(want.AdditionalGids)
				if diff := cmp.Diff(want, comparable(got)); err == nil && diff != "" {
					t.Errorf("%s, %v, %q: %s", layout, sc, image, diff)
				}
			}
		}
	}
}

// For any content of the files, ResolveUser returns a user or an error with a class. It returns
// root only if the files explicitly define the user as root. If the files are well-formed, it
// returns the same user as the built-in CRI.
func FuzzResolveUser(f *testing.F) {
	f.Add(testPasswd, testGroup, "web:www")
	f.Add("root:x:0:0\nweb:x:1000:1001:", "adm:x:4:root,web\n", "web")
	f.Add("root:x:0:0\nweb:x:1000:1001:", "adm:x:4:root,web\n", "1000:adm")
	f.Add("root:x:0:0", "", "0")
	f.Add("a", "b", "")
	f.Add("web:x:00:0\nweb::0:0", "::0:,,", ":")
	root := f.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		f.Fatal(err)
	}
	line := `[a-z]+:[a-z]*:(0|[1-9][0-9]{0,8})`
	goodPasswd := regexp.MustCompile(`^(` + line + `:(0|[1-9][0-9]{0,8})(:[a-z:]*)?\n)*$`)
	goodGroup := regexp.MustCompile(`^(` + line + `:([a-z]+(,[a-z]+)*)?\n)*$`)
	goodUser := regexp.MustCompile(`^([a-z]+|0|[1-9][0-9]{0,8})(:([a-z]+|0|[1-9][0-9]{0,8})?)?$`)

	f.Fuzz(func(t *testing.T, passwd, group, image string) {
		for name, content := range map[string]string{"passwd": passwd, "group": group} {
			if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := ResolveUser(root, nil, image)
		if err != nil && !errdefs.IsInvalidArgument(err) && !errdefs.IsFailedPrecondition(err) {
			t.Errorf("error %v has no class", err)
		}
		if err == nil && got.UID == 0 && !calledRoot(passwd, image) {
			t.Errorf("%q resolved to root from %q", image, passwd)
		}
		if !goodPasswd.MatchString(passwd) || !goodGroup.MatchString(group) || !goodUser.MatchString(image) {
			return
		}
		want, wantErr := builtIn(root, nil, image)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, the error of the built-in CRI is %v", err, wantErr)
		}
		want.AdditionalGids = sorted(want.AdditionalGids)
		if diff := cmp.Diff(want, comparable(got)); err == nil && diff != "" {
			t.Error(diff)
		}
	})
}

func calledRoot(passwd, image string) bool {
	user, _, _ := strings.Cut(image, ":")
	if user == "" || user == "0" {
		return true
	}
	for line := range strings.SplitSeq(passwd, "\n") {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) > 3 && f[0] == user && f[2] != "" && strings.Trim(f[2], "0") == "" {
			return true
		}
	}
	return false
}
