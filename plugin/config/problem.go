// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
)

// Problem is one problem of a config. Its class is errdefs.ErrInvalidArgument.
type Problem struct {
	// Table is the table of config.toml, one of the constants of this package.
	Table string
	// Key is the path of the key in the table.
	Key []string
	// What: the problem, such as "is empty".
	What string
	// Hint says what the user can do.
	Hint string
}

// Error returns the problem in one line: key, problem, and hint in parentheses.
func (p Problem) Error() string {
	text := KeyPath(p.Table, p.Key...) + ": " + p.What
	if p.Hint != "" {
		text += " (" + p.Hint + ")"
	}
	return text
}

// Unwrap returns the class of the problem.
func (p Problem) Unwrap() error { return errdefs.ErrInvalidArgument }

// Problems returns the problems in an error of Validate or BaseSpecs, in their order.
func Problems(err error) []Problem {
	switch err := err.(type) { //nolint:errorlint // It walks the tree of errors itself.
	case Problem:
		return []Problem{err}
	case interface{ Unwrap() []error }:
		var all []Problem
		for _, child := range err.Unwrap() {
			all = append(all, Problems(child)...)
		}
		return all
	case interface{ Unwrap() error }:
		return Problems(err.Unwrap())
	}
	return nil
}

// KeyPath returns a key of a plugin's table in containerd's notation: plugins.'table'.key.key.
func KeyPath(table string, key ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "plugins.'%s'", table)
	for _, part := range key {
		b.WriteByte('.')
		if strings.ContainsFunc(part, needsQuote) || part == "" {
			fmt.Fprintf(&b, "'%s'", part)
		} else {
			b.WriteString(part)
		}
	}
	return b.String()
}

// needsQuote reports whether a character is not permitted in a bare TOML key.
func needsQuote(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '*':
		return false
	}
	return true
}
