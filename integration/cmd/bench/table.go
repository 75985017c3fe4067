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

// line is a line of the table.
type line struct {
	name, unit  string
	stock, lite samples
}

// lines returns one line for each comparison that the row has samples of.
func (r *row) lines() []line {
	var lines []line
	if len(r.samples[stock]) > 0 || len(r.samples[lite]) > 0 {
		lines = append(lines, line{r.name, r.unit, r.samples[stock], r.samples[lite]})
	}
	if with := r.samples[shared]; len(with) > 0 {
		lines = append(lines, line{r.name + ", Sharing node", r.unit, r.samples[stock], with})
	}
	return lines
}

// ratio returns the ratio of the medians, or NaN if one is missing.
func (l line) ratio() float64 {
	ratio := l.lite.median() / l.stock.median()
	if math.IsInf(ratio, 0) {
		return math.NaN()
	}
	return ratio
}

func (l line) cells() []string {
	cells := []string{
		l.name, l.unit, number(l.stock.median()), number(l.lite.median()), number(l.ratio()), number(l.stock.p99()), number(l.lite.p99()),
	}
	all := goals()
	i := slices.IndexFunc(all, func(g goal) bool { return g.line == l.name })
	if i < 0 {
		return append(cells, "", "")
	}
	return append(cells, all[i].String(), all[i].mark(l))
}

// print writes the table in Markdown, or the table of the limits if raw is set.
func (r *results) print(w io.Writer, raw bool) error {
	if raw {
		return r.printLimits(w)
	}
	table := [][]string{
		{"medians", "unit", stock, lite, "ratio", "p99 " + stock, "p99 " + lite, "goal", ""},
		{"---", "---", "---:", "---:", "---:", "---:", "---:", "---", "---"},
	}
	for _, row := range r.rows {
		for _, line := range row.lines() {
			table = append(table, line.cells())
		}
	}
	return write(w, table)
}

func (r *results) printLimits(w io.Writer) error {
	table := [][]string{{"limits", "unit", "median", "p99"}, {"---", "---", "---:", "---:"}}
	for _, row := range r.rows {
		of := row.samples[limit]
		table = append(table, []string{row.name, row.unit, number(of.median()), number(of.p99())})
	}
	return write(w, table)
}

// write aligns the columns, so that the table is readable as text. The second row of the table sets
// the alignment.
func write(w io.Writer, table [][]string) error {
	widths := make([]int, len(table[0]))
	for _, cells := range table {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var text strings.Builder
	for _, cells := range table {
		for i, cell := range cells {
			fmt.Fprintf(&text, "| %s ", pad(cell, widths[i], strings.HasSuffix(table[1][i], ":")))
		}
		text.WriteString("|\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func (g goal) String() string {
	sign := "≤ "
	if g.bound == atLeast {
		sign = "≥ "
	}
	return sign + strconv.FormatFloat(g.limit, 'f', -1, 64)
}

// number formats a value with three significant digits.
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
