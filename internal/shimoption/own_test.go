// SPDX-License-Identifier: Apache-2.0

package shimoption

import (
	"errors"
	"reflect"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/pelletier/go-toml/v2"
)

// TestDefaults checks that the defaults in config.toml are those of Default, and that none is
// missing.
func TestDefaults(t *testing.T) {
	defaults := Defaults()
	if fields := reflect.TypeFor[Own]().NumField(); len(defaults) != fields {
		t.Errorf("%d defaults, want %d", len(defaults), fields)
	}
	table, err := toml.Marshal(defaults)
	if err != nil {
		t.Fatal(err)
	}
	var got Own
	if err := Decode(table, &got); err != nil || got != Default() {
		t.Errorf("the defaults in config.toml are %+v, %v, want %+v", got, err, Default())
	}
}

func TestDecode(t *testing.T) {
	for table, want := range map[string]Pods{
		"":                             Pod,
		"sharing = 'node'":             Node,
		"SHARING = 0x10":               16,
		"Sharing = 'pod'\nsharing = 2": 2,
	} {
		got := Default()
		if err := Decode([]byte(table), &got); err != nil || got.Sharing != want {
			t.Errorf("%q: %+v, %v, want %d", table, got, err, want)
		}
	}
	for table, want := range map[string]string{
		"Sharing = 'foo'":         `"foo"`,
		"Sharing = 1.5":           "1.5",
		"Sharing = [16]":          "[]interface {}{16}",
		"[Sharing]\npods = 'pod'": `"pods = 'pod'\n"`,
	} {
		got := Default()
		err := Decode([]byte(table), &got)
		var bad *Error
		if want += `: want "pod", "node" or a number of pods from 1: invalid argument`; !errors.As(err, &bad) ||
			!errdefs.IsInvalidArgument(err) || bad.What.Error() != want || bad.Error() != "Sharing: "+want || bad.Hint == "" {
			t.Errorf("%q: %v, want %s", table, err, want)
		}
	}
	var missing *toml.StrictMissingError
	if err := Decode([]byte("Foo = 1"), &Own{}); !errors.As(err, &missing) {
		t.Errorf("unknown option: %v", err)
	}
}
