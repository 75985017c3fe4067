// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"encoding/json"
	"fmt"
	"html"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// Sizes of the picture, in pixels.
const (
	pictureWidth = 1260
	columns      = 3
	gap          = 10
	panelWidth   = (pictureWidth - (columns+1)*gap) / columns
	panelHeight  = 190
	chartTop     = 30
	chartHeight  = 100
	legendLines  = 4
)

var colours = []string{"#3274d9", "#e0752d", "#299c46", "#c4162a", "#8f3bb8", "#6ccf8e", "#ff9830", "#37872d", "#a352cc", "#5794f2"}

// series is a line of a chart.
type series struct {
	name   string
	points [][2]float64 // seconds since 1970, value
}

// draw writes the dashboard as a picture with the data of the last minutes. Grafana draws it
// better; this needs no Grafana.
func draw(t *testing.T, path string, web int32, since time.Duration) {
	t.Helper()
	end := time.Now()
	var out strings.Builder
	x, y := 0, gap
	for _, p := range readDashboard(t).Panels {
		if p.Type == "row" {
			if x > 0 {
				x, y = 0, y+panelHeight+gap
			}
			fmt.Fprintf(&out, `<text x="%d" y="%d" class="row">%s</text>`+"\n", gap, y+16, html.EscapeString(p.Title))
			y += 26
			continue
		}
		if x == columns {
			x, y = 0, y+panelHeight+gap
		}
		var all []series
		for _, target := range p.Targets {
			all = append(all, ask(t, web, target.LegendFormat, substitute(target.Expr), end.Add(-since), end)...)
		}
		fmt.Fprintf(&out, `<g transform="translate(%d %d)">%s</g>`+"\n", gap+x*(panelWidth+gap), y, chart(p.Title, p.FieldConfig.Defaults.Unit, all, end.Add(-since), end))
		x++
	}
	picture := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">
<style>.row{font-size:15px;font-weight:bold}.title{font-weight:bold;font-size:12px}.axis{fill:#666}</style>
<rect width="100%%" height="100%%" fill="#f4f5f5"/>
%s</svg>
`, pictureWidth, y+panelHeight+gap, out.String())
	if err := os.WriteFile(path, []byte(picture), 0o600); err != nil {
		t.Fatal(err)
	}
}

// chart returns a panel with its lines, its largest value and its legend.
func chart(title, unit string, all []series, begin, end time.Time) string {
	largest := 0.0
	for _, s := range all {
		for _, p := range s.points {
			largest = max(largest, p[1])
		}
	}
	if largest == 0 {
		largest = 1
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="#fff" stroke="#ddd"/><text x="8" y="18" class="title">%s</text>`, panelWidth, panelHeight, html.EscapeString(title))
	fmt.Fprintf(&out, `<text x="%d" y="18" text-anchor="end" class="axis">largest %s</text>`, panelWidth-8, format(largest, unit))
	fmt.Fprintf(&out, `<line x1="8" y1="%d" x2="%d" y2="%d" stroke="#ccc"/>`, chartTop+chartHeight, panelWidth-8, chartTop+chartHeight)
	for i, s := range all {
		colour := colours[i%len(colours)]
		fmt.Fprintf(&out, `<polyline fill="none" stroke="%s" stroke-width="1.2" points="`, colour)
		for _, p := range s.points {
			px := 8 + (p[0]-float64(begin.Unix()))/end.Sub(begin).Seconds()*(panelWidth-16)
			fmt.Fprintf(&out, "%.1f,%.1f ", px, chartTop+chartHeight*(1-p[1]/largest))
		}
		out.WriteString(`"/>`)
		if column, line := i/legendLines, i%legendLines; column < 2 {
			fmt.Fprintf(&out, `<text x="%d" y="%d" fill="%s">%s</text>`, 8+column*panelWidth/2, chartTop+chartHeight+14+line*12, colour, html.EscapeString(s.name))
		}
	}
	return out.String()
}

// format returns a value with its unit, as Grafana calls it.
func format(v float64, unit string) string {
	switch unit {
	case "s":
		return time.Duration(v * float64(time.Second)).Round(time.Millisecond / 10).String()
	case "bytes", "Bps":
		text := fmt.Sprintf("%.1f MiB", v/(1<<20))
		if unit == "Bps" {
			text += "/s"
		}
		return text
	case "MiBs":
		return fmt.Sprintf("%.1f MiB/s", v)
	case "percentunit":
		return fmt.Sprintf("%.1f %%", 100*v)
	default:
		return fmt.Sprintf("%.4g", v)
	}
}

// ask returns the values of an expression over time. A legend has names of labels in {{}}.
func ask(t *testing.T, web int32, legend, expr string, begin, end time.Time) (all []series) {
	t.Helper()
	step := max(1, int(end.Sub(begin).Seconds())/200)
	values := url.Values{"query": {expr}, "start": {fmt.Sprint(begin.Unix())}, "end": {fmt.Sprint(end.Unix())}, "step": {fmt.Sprint(step)}}
	answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/api/v1/query_range?%s", web, values.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var result struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Values [][2]json.RawMessage
			}
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&result); err != nil {
		t.Fatal(err)
	}
	for _, found := range result.Data.Result {
		s := series{name: legend}
		for label, value := range found.Metric {
			s.name = strings.ReplaceAll(s.name, "{{"+label+"}}", value)
		}
		s.name, _, _ = strings.Cut(s.name, ", {{") // a label that the series does not have
		for _, v := range found.Values {
			var at, value float64
			if json.Unmarshal(v[0], &at) == nil && json.Unmarshal([]byte(strings.Trim(string(v[1]), `"`)), &value) == nil && !math.IsNaN(value) {
				s.points = append(s.points, [2]float64{at, value})
			}
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b series) int { return strings.Compare(a.name, b.name) })
	return all
}
