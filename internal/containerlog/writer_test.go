// SPDX-License-Identifier: Apache-2.0

package containerlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

func open(t *testing.T, to Destination, onError func(error)) *Writer {
	t.Helper()
	w, err := Open(to, onError)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func TestRecords(t *testing.T) {
	tests := []struct {
		name    string
		maxLine int
		writes  []string
		want    []record
	}{
		{name: "nothing"},
		{
			name:   "lines",
			writes: []string{"one\ntwo\n\nfour\n"},
			want:   []record{{content: "one"}, {content: "two"}, {}, {content: "four"}},
		},
		{
			name:   "line in several writes",
			writes: []string{"o", "n", "", "e", "\n"},
			want:   []record{{content: "one"}},
		},
		{
			name:   "carriage return is content",
			writes: []string{"tty\r\n"},
			want:   []record{{content: "tty\r"}},
		},
		{
			name:   "no newline at the end",
			writes: []string{"one\ntwo"},
			want:   []record{{content: "one"}, {content: "two", partial: true}},
		},
		{
			name:    "limit is reached, not passed",
			maxLine: 3,
			writes:  []string{"abc\n", "abc", "\n", "abc"},
			want:    []record{{content: "abc"}, {content: "abc"}, {content: "abc", partial: true}},
		},
		{
			name:    "limit is passed",
			maxLine: 3,
			writes:  []string{"abcdefg\n", "a", "bcd", "efgh"},
			want: []record{
				{content: "abc", partial: true}, {content: "def", partial: true}, {content: "g"},
				{content: "abc", partial: true}, {content: "def", partial: true}, {content: "gh", partial: true},
			},
		},
		{
			name:   "default limit of 1 MiB",
			writes: []string{strings.Repeat("x", 1<<20+1) + "\n"},
			want:   []record{{content: strings.Repeat("x", 1<<20), partial: true}, {content: "x"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "0.log")
			w := open(t, Destination{Name: path, MaxLine: tt.maxLine}, nil)
			s := w.Output(Stderr)
			for _, data := range tt.writes {
				write(t, s, data)
			}
			s.Close()
			for i := range tt.want {
				tt.want[i].stream = "stderr"
			}
			if diff := cmp.Diff(tt.want, readRecords(t, path), cmp.AllowUnexported(record{})); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompleteLinesAreWrittenImmediately(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	s := open(t, Destination{Name: path}, nil).Output(Stdout)
	write(t, s, "done\nbeg")
	if got := streamOf(readRecords(t, path), "stdout"); got != "done\n" {
		t.Errorf("log has %q, want the complete line only", got)
	}
}

// FuzzRoundTrip checks that the streams can be read back byte for byte with any line limit and any
// division of the output into writes.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("hello\nworld\n"), []byte("warning\n"), 16, 5)
	f.Add([]byte("no newline"), []byte("\n\n\r\n"), 1, 1)
	f.Add([]byte("aaaa"), []byte{0, 0xff, '\n', ' '}, 0, 3)
	f.Fuzz(func(t *testing.T, out, errOut []byte, maxLine, chunk int) {
		if len(out)+len(errOut) > 4096 {
			t.Skip("long output adds no coverage")
		}
		chunk = max(chunk, 1)
		path := filepath.Join(t.TempDir(), "0.log")
		w, err := Open(Destination{Name: path, MaxLine: maxLine}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		rest := map[string][]byte{Stdout: out, Stderr: errOut}
		streams := map[string]*Output{}
		for name := range rest {
			streams[name] = w.Output(name)
		}
		for len(rest[Stdout])+len(rest[Stderr]) > 0 {
			for name, s := range streams {
				n := min(chunk, len(rest[name]))
				write(t, s, string(rest[name][:n]))
				rest[name] = rest[name][n:]
			}
		}
		for _, s := range streams {
			s.Close()
		}
		records := readRecords(t, path)
		for name, want := range map[string][]byte{Stdout: out, Stderr: errOut} {
			if got := streamOf(records, name); got != string(want) {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
		for _, r := range records {
			if maxLine > 0 && len(r.content) > maxLine {
				t.Errorf("record of %d bytes, limit %d", len(r.content), maxLine)
			}
		}
	})
}

// TestReopenLosesNothing rotates the log as the kubelet does, by rename and reopen, while two
// streams write.
func TestReopenLosesNothing(t *testing.T) {
	const lines, rotations = 5000, 50
	dir := t.TempDir()
	path := filepath.Join(dir, "0.log")
	w := open(t, Destination{Name: path, MaxLine: 8}, nil)

	var wg sync.WaitGroup
	want := map[string]string{}
	for _, name := range []string{Stdout, Stderr} {
		var all strings.Builder
		for i := range lines {
			fmt.Fprintf(&all, "%s line %d\n", name, i)
		}
		want[name] = all.String()
		s := w.Output(name)
		wg.Go(func() {
			for line := range strings.Lines(all.String()) {
				s.Write([]byte(line[:3]))
				s.Write([]byte(line[3:]))
			}
		})
	}
	var files []string
	for i := range rotations {
		rotated := path + "." + strconv.Itoa(i)
		if err := os.Rename(path, rotated); err != nil {
			t.Fatal(err)
		}
		if err := w.Reopen(); err != nil {
			t.Fatal(err)
		}
		files = append(files, rotated)
	}
	wg.Wait()

	var records []record
	for _, file := range append(files, path) {
		records = append(records, readRecords(t, file)...)
	}
	for name := range want {
		if got := streamOf(records, name); got != want[name] {
			t.Errorf("%s: %d bytes read, %d written, or in another order", name, len(got), len(want[name]))
		}
	}
}

func TestReopenErrorKeepsTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "0.log")
	w := open(t, Destination{Name: path}, nil)
	s := w.Output(Stdout)
	write(t, s, "before\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "target")
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	if err := w.Reopen(); err == nil {
		t.Fatal("reopened through a symbolic link")
	}
	if _, err := os.Lstat(target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("target of the link: %v, want it not to exist", err)
	}
	write(t, s, "after\n")
	if got := streamOf(readRecords(t, path+".1"), "stdout"); got != "before\nafter\n" {
		t.Errorf("old log has %q", got)
	}
}

// A log that follows continues in a file that another program has put in its place, and nowhere
// else.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "0.log")
		w := open(t, Destination{Name: path}, nil)
		w.Follow()
		s := w.Output(Stdout)
		write(t, s, "one\n")
		replace := func(create func() error) {
			t.Helper()
			_ = os.Remove(path + ".1")
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
			if err := create(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(followPeriod)
		}
		replace(func() error { return nil })
		write(t, s, "no file\n")
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a file was made: %v", err)
		}
		if err := os.Symlink("target", path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(followPeriod)
		write(t, s, "link\n")
		if err := os.Rename(path+".1", path); err != nil {
			t.Fatal(err)
		}
		replace(func() error { return os.WriteFile(path, nil, 0o600) })
		write(t, s, "new\n")
		if got := streamOf(readRecords(t, path+".1"), "stdout"); got != "one\nno file\nlink\n" {
			t.Errorf("old log has %q", got)
		}
		if got := streamOf(readRecords(t, path), "stdout"); got != "new\n" {
			t.Errorf("new log has %q", got)
		}
	})
}

func TestReopenWithoutRotationAppends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	w := open(t, Destination{Name: path}, nil)
	s := w.Output(Stdout)
	write(t, s, "one\n")
	if err := w.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(t, s, "two\n")
	if got := streamOf(readRecords(t, path), "stdout"); got != "one\ntwo\n" {
		t.Errorf("log has %q", got)
	}
}

func TestClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	w := open(t, Destination{Name: path}, func(err error) { t.Errorf("reported %v", err) })
	s := w.Output(Stdout)
	for range 2 {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Reopen(); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("Reopen = %v, want a failed precondition", err)
	}
	write(t, s, "late\n")
	if records := readRecords(t, path); len(records) != 0 {
		t.Errorf("log has %v", records)
	}
}

func TestFileMode(t *testing.T) {
	dir := t.TempDir()
	w, err := Open(Destination{Dir: dir, Name: "web/0.log"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	info, err := os.Stat(filepath.Join(dir, "web", "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("mode %v, want no more than 0640", info.Mode())
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{80, 1000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			w, err := Open(Destination{Name: filepath.Join(b.TempDir(), "0.log"), MaxLine: 16 << 10}, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			s := w.Output(Stdout)
			chunk := []byte(strings.Repeat(strings.Repeat("x", size-1)+"\n", 64<<10/size))
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			for b.Loop() {
				s.Write(chunk)
			}
		})
	}
}
