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

// table presents the results of a comparison.
type table struct {
	comparison
}

// line is a line of the table.
type line struct {
	name, unit         string
	reference, subject rounds
	of                 statistic
	peers              []rounds
}

// lines returns the lines of a row: the subject, its variants, the 99th percentile if it has a
// goal, and A/A beside each line that has one.
func (t table) lines(r *row) []line {
	if t.name(reference) == "" {
		return []line{{name: r.name, unit: r.unit, subject: r.samples[t.name(subject)], of: median}}
	}
	var lines []line
	add := func(name string, reference, subject rounds, of statistic) {
		if len(subject) > 0 {
			lines = append(lines, line{name: name, unit: r.unit, reference: reference, subject: subject, of: of})
		}
	}
	base, main := r.samples[t.name(reference)], r.samples[t.name(subject)]
	add(r.name, base, main, median)
	if len(lines) > 0 {
		for _, name := range t.names(peer) {
			lines[0].peers = append(lines[0].peers, r.samples[name])
		}
	}
	for _, c := range t.contestants {
		if c.role == variant {
			add(r.name+", "+c.name, base, r.samples[c.name], median)
		}
	}
	if tail := "p99 of " + r.name; hasGoal(tail) {
		add(tail, base, main, p99)
	}
	if hasGoal(r.name) {
		add("A/A: "+r.name, main, r.samples[t.name(again)], median)
	}
	return lines
}

// all returns the samples of all rounds.
func (r rounds) all() samples { return slices.Concat(r...) }

func (l line) ratio() estimate { return ratio(l.of, l.subject, l.reference) }

// cells returns the cells of a line.
func (t table) cells(l line) []string {
	ratio := l.ratio()
	cells := []string{
		l.name, l.unit, number(l.of(l.reference.all())), number(l.of(l.subject.all())), number(ratio.value), ratio.interval(),
		number(p99(l.reference.all())), number(p99(l.subject.all())),
	}
	for i := range t.names(peer) {
		var median string
		if i < len(l.peers) {
			median = number(l.of(l.peers[i].all()))
		}
		cells = append(cells, median)
	}
	if g, ok := goalOf(l.name); ok && t.judged {
		return append(cells, g.String(), g.mark(l))
	}
	return append(cells, "", "")
}

// interval returns the confidence interval, with its half width if that is not narrow.
func (e estimate) interval() string {
	bounds := e.bounds()
	if bounds == "" || e.narrow() {
		return bounds
	}
	return fmt.Sprintf("%s (±%.0f %%)", bounds, 100*e.spread())
}

// bounds returns the confidence interval, or "" if it is not known.
func (e estimate) bounds() string {
	if math.IsNaN(e.value) || math.IsInf(e.high, 0) {
		return ""
	}
	return number(e.low) + "–" + number(e.high)
}

// print writes the table in Markdown.
func (t table) print(w io.Writer, rows []*row) error {
	if t.name(reference) == "" {
		return t.printLimits(w, rows)
	}
	of, to := t.name(subject), t.name(reference)
	header := []string{"medians", "unit", to, of, "ratio", "95 % interval", "p99 " + to, "p99 " + of}
	align := []string{"---", "---", "---:", "---:", "---:", "---:", "---:", "---:"}
	for _, name := range t.names(peer) {
		header, align = append(header, name), append(align, "---:")
	}
	cells := [][]string{append(header, "goal", ""), append(align, "---", "---")}
	for _, row := range rows {
		for _, line := range t.lines(row) {
			cells = append(cells, t.cells(line))
		}
	}
	return write(w, cells)
}

func (t table) printLimits(w io.Writer, rows []*row) error {
	cells := [][]string{{"limits", "unit", "median", "p99"}, {"---", "---", "---:", "---:"}}
	for _, row := range rows {
		of := row.samples[t.name(subject)].all()
		cells = append(cells, []string{row.name, row.unit, number(median(of)), number(p99(of))})
	}
	return write(w, cells)
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

// number formats a value with three significant digits.
func number(value float64) string {
	switch {
	case math.IsNaN(value):
		return ""
	case value < 0:
		return "-" + number(-value)
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
