// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

const (
	testPasswd = `root:x:0:0:root:/root:/bin/sh
web:x:1000:1001:web,,,:/home/web:/bin/sh
web:x:2000:2000:the second of this name:/:/bin/sh
other:x:1000:3000:the second of this id:/:/bin/sh
edge:x:2147483647:2147483647::/:/bin/sh
wrap:x:4294967296:4294967296::/:/bin/sh
minus:x:-1:-1::/:/bin/sh
bad-gid:x:1500:4294967296::/:/bin/sh
words:x:zero:zero::/:/bin/sh
short:x:0
# web:x:0:0:a comment:/:/bin/sh
  guest:x:65534:65534
`
	testGroup = `root:x:0:
adm:x:4:root,web
web:x:1001:web
www:x:33:guest,web
wheel:x:10:root
wheel:x:11:guest
huge:x:4294967295:guest
guest:x:65534
short:x
# comment:x:12:web
`
)

type (
	securityContext = runtimeapi.LinuxContainerSecurityContext
	id              = runtimeapi.Int64Value
)

const strict = runtimeapi.SupplementalGroupsPolicy_Strict

// TestCheckUser checks requests that can be refused without the root filesystem.
func TestCheckUser(t *testing.T) {
	id := func(v int64) *runtimeapi.Int64Value { return &runtimeapi.Int64Value{Value: v} }
	for _, c := range []struct {
		name  string
		sc    *runtimeapi.LinuxContainerSecurityContext
		image string
		good  bool
	}{
		{name: "nothing", good: true},
		{name: "name", sc: &runtimeapi.LinuxContainerSecurityContext{RunAsUsername: "app"}, good: true},
		{name: "ids", sc: &runtimeapi.LinuxContainerSecurityContext{RunAsUser: id(1), RunAsGroup: id(2)}, good: true},
		{name: "image", image: "app:staff", good: true},
		{name: "negative", sc: &runtimeapi.LinuxContainerSecurityContext{RunAsUser: id(-1)}},
		{name: "too large", sc: &runtimeapi.LinuxContainerSecurityContext{RunAsUser: id(1 << 40)}},
		{name: "group negative", sc: &runtimeapi.LinuxContainerSecurityContext{RunAsUser: id(1), RunAsGroup: id(-1)}},
		{name: "group alone", sc: &runtimeapi.LinuxContainerSecurityContext{RunAsGroup: id(1)}},
		{name: "image with a group of no kind", image: "app:+1"},
	} {
		err := CheckUser(c.sc, c.image)
		if c.good && err != nil || !c.good && !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// files creates a root filesystem. A value with the prefix "-> " is the target of a symbolic link;
// any other value is the content of a file.
func files(t *testing.T, content map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range content {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestResolveUser(t *testing.T) {
	root := files(t, map[string]string{"etc/passwd": testPasswd, "etc/group": testGroup})
	rootUser := spec.User{Name: "root", AdditionalGIDs: []uint32{4, 10}}
	web := spec.User{UID: 1000, GID: 1001, Name: "web", AdditionalGIDs: []uint32{4, 33}}
	with := func(u spec.User, gid uint32) spec.User { u.GID = gid; return u }
	strictly := func(u spec.User) spec.User { u.AdditionalGIDs = nil; return u }

	for _, test := range []struct {
		name  string
		sc    *securityContext
		image string
		want  spec.User
	}{
		{name: "nothing asked", want: rootUser},
		{name: "empty security context", sc: &securityContext{}, want: rootUser},
		{name: "strict", sc: &securityContext{SupplementalGroupsPolicy: strict}, image: "web", want: strictly(web)},

		{name: "image: name", image: "web", want: web},
		{name: "image: uid of the first entry", image: "1000", want: web},
		{name: "image: uid without entry", image: "1234", want: spec.User{UID: 1234}},
		{name: "image: greatest id", image: "2147483647", want: spec.User{UID: 2147483647, GID: 2147483647, Name: "edge"}},
		{name: "image: name:group", image: "web:www", want: with(web, 33)},
		{name: "image: name:gid", image: "web:5", want: with(web, 5)},
		{name: "image: uid:group", image: "1000:www", want: with(web, 33)},
		{name: "image: uid:gid", image: "1234:5678", want: spec.User{UID: 1234, GID: 5678}},
		{name: "image: the first of two groups", image: "1234:wheel", want: spec.User{UID: 1234, GID: 10}},
		{name: "image: no group after the colon", image: "web:", want: with(web, 0)},
		{name: "image: no user before the colon", image: ":www", want: with(rootUser, 33)},
		{name: "image: uid of an entry without a valid group", image: "1500", want: spec.User{UID: 1500}},
		{
			name: "image: user listed by a group with a bad id", image: "guest",
			want: spec.User{UID: 65534, GID: 65534, Name: "guest", AdditionalGIDs: []uint32{33, 11}},
		},

		{name: "run_as_user", sc: &securityContext{RunAsUser: &id{Value: 1000}}, image: "0:0", want: web},
		{name: "run_as_user 0 is root, not unset", sc: &securityContext{RunAsUser: &id{}}, image: "web", want: rootUser},
		{name: "run_as_user and image group", sc: &securityContext{RunAsUser: &id{Value: 1234}}, image: "web:www", want: spec.User{UID: 1234}},
		{
			name: "run_as_user and run_as_group",
			sc:   &securityContext{RunAsUser: &id{Value: 1000}, RunAsGroup: &id{Value: 7}}, image: "root",
			want: with(web, 7),
		},
		{name: "run_as_username", sc: &securityContext{RunAsUsername: "web"}, image: "root", want: web},
		{name: "run_as_username of a number", sc: &securityContext{RunAsUsername: "1234"}, want: spec.User{UID: 1234}},
		{
			name: "run_as_username before run_as_user",
			sc:   &securityContext{RunAsUsername: "web", RunAsUser: &id{Value: 7}, RunAsGroup: &id{}},
			want: with(web, 0),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ResolveUser(root, test.sc, test.image)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestResolveUserRefuses(t *testing.T) {
	root := files(t, map[string]string{"etc/passwd": testPasswd, "etc/group": testGroup})
	long := strings.Repeat("x", maxUserBytes+1)
	for _, test := range []struct {
		name  string
		sc    *securityContext
		image string
		class error
		says  string
	}{
		{name: "group alone", sc: &securityContext{RunAsGroup: &id{Value: 7}}, image: "web", class: errdefs.ErrInvalidArgument, says: "run_as_group"},
		{name: "negative uid", sc: &securityContext{RunAsUser: &id{Value: -1}}, class: errdefs.ErrInvalidArgument, says: `run_as_user: "-1"`},
		{name: "great uid", sc: &securityContext{RunAsUser: &id{Value: 1 << 31}}, class: errdefs.ErrInvalidArgument, says: "run_as_user: 2147483648"},
		{
			name: "gid that wraps to root's", sc: &securityContext{RunAsUser: &id{Value: 1}, RunAsGroup: &id{Value: 1 << 32}},
			class: errdefs.ErrInvalidArgument, says: "4294967296",
		},
		{name: "username with a colon", sc: &securityContext{RunAsUsername: "web:www"}, class: errdefs.ErrInvalidArgument, says: "run_as_username"},
		{name: "long username", sc: &securityContext{RunAsUsername: long}, class: errdefs.ErrInvalidArgument, says: "run_as_username"},
		{name: "unknown username", sc: &securityContext{RunAsUsername: "eve"}, class: errdefs.ErrFailedPrecondition, says: `"eve"`},

		{name: "image: unknown user", image: "eve", class: errdefs.ErrFailedPrecondition, says: `/etc/passwd has no valid entry for user "eve"`},
		{name: "image: unknown group", image: "web:eve", class: errdefs.ErrFailedPrecondition, says: `/etc/group has no valid entry for group "eve"`},
		{name: "image: uid that wraps to root's", image: "4294967296", class: errdefs.ErrInvalidArgument, says: "4294967296"},
		{name: "image: uid beyond int", image: strings.Repeat("9", 30), class: errdefs.ErrInvalidArgument, says: "999"},
		{name: "image: gid beyond int", image: "0:" + strings.Repeat("9", 30), class: errdefs.ErrInvalidArgument, says: "999"},
		{name: "image: negative", image: "-1", class: errdefs.ErrInvalidArgument, says: "-1"},
		{name: "image: three parts", image: "web:www:1", class: errdefs.ErrInvalidArgument, says: "web:www:1"},
		{name: "image: long", image: long, class: errdefs.ErrInvalidArgument, says: "1025 bytes"},
		{name: "image: entry that wraps to root's", image: "wrap", class: errdefs.ErrFailedPrecondition, says: `"wrap"`},
		{name: "image: entry with negative ids", image: "minus", class: errdefs.ErrFailedPrecondition, says: `"minus"`},
		{name: "image: entry without number", image: "words", class: errdefs.ErrFailedPrecondition, says: `"words"`},
		{name: "image: entry that is too short", image: "short", class: errdefs.ErrFailedPrecondition, says: `"short"`},
		{name: "image: entry in a comment", image: "# web", class: errdefs.ErrFailedPrecondition, says: `"# web"`},
		{name: "image: entry whose group wraps to root's", image: "bad-gid", class: errdefs.ErrFailedPrecondition, says: `"bad-gid"`},
		{name: "image: group that is not a gid", image: "web:huge", class: errdefs.ErrFailedPrecondition, says: `"huge"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ResolveUser(root, test.sc, test.image)
			if !errors.Is(err, test.class) {
				t.Fatalf("got %+v and error %v, want class %v", got, err, test.class)
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %q does not say %q", err, test.says)
			}
		})
	}
}

func TestResolveUserWithoutFiles(t *testing.T) {
	root := t.TempDir()
	for image, want := range map[string]spec.User{
		"":          {},
		"0":         {},
		"1234":      {UID: 1234},
		"1234:5678": {UID: 1234, GID: 5678},
	} {
		got, err := ResolveUser(root, nil, image)
		if err != nil {
			t.Errorf("user %q: %v", image, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("user %q: %s", image, diff)
		}
	}
	for _, image := range []string{"web", "web:5", "5:web"} {
		if got, err := ResolveUser(root, nil, image); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("user %q: got %+v and error %v, want FailedPrecondition", image, got, err)
		}
	}
}

// Leading zeros of a number are ignored, as in the built-in CRI. Such a number is not a name.
func TestNumberAfterZeros(t *testing.T) {
	const trap = "01000:x:0:0::/:/bin/sh\n"
	root := files(t, map[string]string{"etc/passwd": trap, "etc/group": trap})
	want := spec.User{UID: 1000, GID: 7}
	for _, image := range []string{"01000:007", "0001000:7"} {
		got, err := ResolveUser(root, nil, image)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("user %q (-want +got): %s", image, diff)
		}
	}
}

// If these strings were looked up as names, /etc/passwd of an image could map them to root, while
// other programs parse them as numbers and see another user (CVE-2026-46680).
func TestNumbersAreNoNames(t *testing.T) {
	numbers := []string{
		"2147483648", "4294967295", "4294967296", strings.Repeat("9", 36), "-1", "+0", "+1000", "0x0", "0X1f", "0b1", "0o7", "00", "02147483648",
		"0+1000", "1000 ", " 1000", "1_000", "1.0", "１０００", "٣", "-", " ", "$",
	}
	var entries strings.Builder
	for _, n := range numbers {
		fmt.Fprintf(&entries, "%s:x:0:0::/:/bin/sh\n", n)
	}
	root := files(t, map[string]string{"etc/passwd": entries.String(), "etc/group": entries.String()})
	for _, n := range numbers {
		for _, image := range []string{n, n + ":5", "405:" + n} {
			if got, err := ResolveUser(root, nil, image); !errdefs.IsInvalidArgument(err) {
				t.Errorf("image user %q: got %+v and error %v, want InvalidArgument", image, got, err)
			}
		}
		if got, err := ResolveUser(root, &securityContext{RunAsUsername: n}, ""); !errdefs.IsInvalidArgument(err) {
			t.Errorf("run_as_username %q: got %+v and error %v, want InvalidArgument", n, got, err)
		}
	}
}
