// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// print writes the table in Markdown, with its columns aligned for those who read it as text.
func (r *results) print(w io.Writer) error {
	table := [][]string{
		{"medians", "unit", stock, lite, "ratio", "p99 " + stock, "p99 " + lite, "goal", ""},
		{"---", "---", "---:", "---:", "---:", "---:", "---:", "---", "---"},
	}
	for _, row := range r.rows {
		table = append(table, row.cells())
	}
	widths := make([]int, len(table[0]))
	for _, cells := range table {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var text strings.Builder
	for _, cells := range table {
		for i, cell := range cells {
			fmt.Fprintf(&text, "| %s ", pad(cell, widths[i], i >= 2 && i <= 6))
		}
		text.WriteString("|\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func (r *row) cells() []string {
	stock, lite := r.samples[stock], r.samples[lite]
	cells := []string{
		r.name, r.unit, number(stock.median()), number(lite.median()), number(r.ratio()), number(stock.p99()), number(lite.p99()),
	}
	all := goals()
	i := slices.IndexFunc(all, func(g goal) bool { return g.row == r.name })
	if i < 0 {
		return append(cells, "", "")
	}
	return append(cells, all[i].String(), all[i].mark(r))
}

func (g goal) String() string {
	sign := "≤ "
	if g.bound == atLeast {
		sign = "≥ "
	}
	return sign + strconv.FormatFloat(g.limit, 'f', -1, 64)
}

// number has three digits that mean something.
func number(value float64) string {
	switch {
	case math.IsNaN(value):
		return ""
	case value >= 100:
		return strconv.FormatFloat(value, 'f', 0, 64)
	case value >= 10:
		return strconv.FormatFloat(value, 'f', 1, 64)
	case value >= 1 || value == 0:
		return strconv.FormatFloat(value, 'f', 2, 64)
	default:
		return strconv.FormatFloat(value, 'f', 3, 64)
	}
}

func pad(cell string, width int, right bool) string {
	space := strings.Repeat(" ", width-utf8.RuneCountInString(cell))
	if right {
		return space + cell
	}
	return cell + space
}
