package setup

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"pgregory.net/rapid"
)

const testMirror = "http://127.0.0.1:7300"

var foreign = []string{
	"",
	"server = \"https://registry.example\"\n",
	"server = \"https://registry.example\"", // no line break at the end
	"# mine\r\nserver = \"https://registry.example\"\r\n\r\n[host.\"https://mirror.example\"]\r\n  capabilities = [\"pull\"]\r\n",
	"[host.\"https://a.example\"]\n  ca = \"/x.crt\"\n[host.\"https://a.example\".header]\n  X = [\"1\"]\n# end",
	"  server=\"https://r\" # why\n\n  # of the table\n  [host.\"https://b\"]\n",
	"ca = '''\n[host.\"not a table\"]\n'''\n[host.\"https://c\"]\n",
	"\n\n\n",
}

// What setup writes, restore takes away: every byte is as it was.
func TestApplyAndStripAreInverse(t *testing.T) {
	for _, text := range foreign {
		for _, enforce := range []bool{false, true} {
			e := hostsEdit{mirror: testMirror, enforce: enforce, header: "node-1"}
			out, err := e.apply([]byte(text), attributes{})
			if err != nil {
				t.Errorf("%q: %v", text, err)
				continue
			}
			if !bytes.Contains(out, []byte(`[host."`+testMirror+`"]`)) {
				t.Errorf("%q: no table in %q", text, out)
			}
			if got := firstHost(t, out); got != testMirror {
				t.Errorf("%q: containerd asks %s first:\n%s", text, got, out)
			}
			back, _, had, err := strip(out)
			if err != nil || !had || string(back) != text {
				t.Errorf("restored %q (%v, %v), want %q", back, had, err, text)
			}
			rest, _, _, _ := strip(out)
			if again, err := e.apply(rest, attributes{}); err != nil || !bytes.Equal(again, out) {
				t.Errorf("a second setup makes %q of %q (%v)", again, out, err)
			}
		}
	}
}

// firstHost is the first table of a hosts.toml, and its server if p2pd is it.
func firstHost(t *testing.T, text []byte) string {
	t.Helper()
	if err := toml.Unmarshal(text, &map[string]any{}); err != nil {
		t.Errorf("not TOML: %v\n%s", err, text)
	}
	p := &unstable.Parser{}
	p.Reset(text)
	for p.NextExpression() {
		e := p.Expression()
		if keys, _ := keysOf(e); e.Kind == unstable.Table && keys[0] == "host" {
			return keys[1]
		}
	}
	return ""
}

func TestEnforcedMeansThatP2PDIsTheServer(t *testing.T) {
	for _, text := range foreign {
		out, err := hostsEdit{mirror: testMirror, enforce: true}.apply([]byte(text), attributes{})
		if err != nil {
			t.Fatal(err)
		}
		var v struct{ Server string }
		if err := toml.Unmarshal(out, &v); err != nil || v.Server != testMirror {
			t.Errorf("server is %q (%v) in:\n%s", v.Server, err, out)
		}
	}
}

// Whatever others write before and after our lines meanwhile stays.
func TestForeignEditsStay(t *testing.T) {
	lines := rapid.SliceOfN(rapid.SampledFrom([]string{"# a comment\n", "\n", "# another\n"}), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom(foreign).Draw(t, "text")
		out, err := hostsEdit{mirror: testMirror}.apply([]byte(text), attributes{})
		if err != nil {
			t.Fatal(err)
		}
		before := strings.Join(lines.Draw(t, "before"), "")
		after := strings.Join(lines.Draw(t, "after"), "")
		edited := before + string(out) + after
		back, _, _, err := strip([]byte(edited))
		if err != nil || string(back) != before+text+after {
			t.Fatalf("restored %q, want %q (%v)", back, before+text+after, err)
		}
	})
}

func TestBrokenMarkersAreRefused(t *testing.T) {
	whole, err := hostsEdit{mirror: testMirror}.apply(nil, attributes{})
	if err != nil {
		t.Fatal(err)
	}
	text := string(whole)
	for name, broken := range map[string]string{
		"no end":       strings.Replace(text, endMark+"\n", "", 1),
		"no begin":     text[strings.Index(text, "\n")+1:],
		"nested":       text[:strings.Index(text, "\n")+1] + text,
		"word":         strings.Replace(text, "[]", "[what]", 1),
		"no bracket":   strings.Replace(text, "[]", "", 1),
		"bad base64":   strings.Replace(text, "[]", "[was=!]", 1),
		"many folders": strings.Replace(text, "[]", "[dirs=99]", 1),
	} {
		if _, _, _, err := strip([]byte(broken)); err == nil || !strings.Contains(err.Error(), "by hand") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatCannotBeEditedIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"server = ":                     "line 1",
		"host = {\"https://a\" = {}}\n": "tables",
	} {
		if _, err := (hostsEdit{mirror: testMirror}).apply([]byte(text), attributes{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
	}
	byHand := "[host.\"" + testMirror + "\"]\n"
	if out, err := (hostsEdit{mirror: testMirror}).apply([]byte(byHand), attributes{}); err != nil || string(out) != byHand {
		t.Errorf("what was done by hand is changed to %q (%v)", out, err)
	}
}

func FuzzStrip(f *testing.F) {
	for _, text := range foreign {
		out, err := hostsEdit{mirror: testMirror}.apply([]byte(text), attributes{file: true, dirs: 2})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(out)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		rest, _, had, err := strip(text)
		if err == nil && !had && !bytes.Equal(rest, text) {
			t.Errorf("%q without a block became %q", text, rest)
		}
	})
}
