// SPDX-License-Identifier: Apache-2.0

package security

import (
	"cmp"
	"flag"
	"os"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the table of docs/security.md")

const document = "../../../docs/security.md"

// TestEntries checks that each entry has exactly one of an attack, an entry with the same attack,
// and a reason.
func TestEntries(t *testing.T) {
	attacks := map[string]bool{}
	for _, e := range entries() {
		if _, twice := attacks[e.id]; twice {
			t.Errorf("duplicate entry %s", e.id)
		}
		attacks[e.id] = e.attack != nil
	}
	for _, e := range entries() {
		if e.what == "" {
			t.Errorf("%s has no description", e.id)
		}
		ways := 0
		for _, has := range []bool{e.attack != nil, e.same != "", e.reason != ""} {
			if has {
				ways++
			}
		}
		if ways != 1 {
			t.Errorf("%s has %d of attack, same and reason, want 1", e.id, ways)
		}
		if e.same != "" && !attacks[e.same] {
			t.Errorf("%s is the same as %s, which has no attack", e.id, e.same)
		}
	}
}

// TestDocument compares the table of docs/security.md with the entries.
func TestDocument(t *testing.T) {
	const begin, end = "<!-- entries -->\n", "<!-- end of entries -->\n"
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, foundBegin := strings.Cut(string(text), begin)
	table, after, foundEnd := strings.Cut(rest, end)
	if !foundBegin || !foundEnd {
		t.Fatalf("%s has no %q and %q", document, begin, end)
	}
	want := documentTable()
	if *update {
		if err := os.WriteFile(document, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := gocmp.Diff(want, table); diff != "" {
		t.Errorf("%s differs from the entries (run this test with -update):\n%s", document, diff)
	}
}

func documentTable() string {
	var b strings.Builder
	b.WriteString("| id | attack | test | containerd-lite | containerd 2.4.2 |\n|---|---|---|---|---|\n")
	byID := map[string]entry{}
	for _, e := range entries() {
		byID[e.id] = e
	}
	for _, e := range entries() {
		test, us, stock := "TestSecurity/"+cmp.Or(e.same, e.id), "holds", "holds"
		if e.reason != "" {
			test, us, stock = "–", "does not apply: "+e.reason, "–"
		}
		result := byID[cmp.Or(e.same, e.id)]
		if result.open != "" {
			us = "**open**: " + result.open
		}
		if result.stock != "" {
			stock = "**" + result.stock + "**"
		}
		b.WriteString("| " + strings.Join([]string{e.id, e.what, test, us, stock}, " | ") + " |\n")
	}
	return b.String()
}
