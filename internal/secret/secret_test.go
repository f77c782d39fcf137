package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNothingShowsASecret(t *testing.T) {
	const plain = "hunter2"
	s := New(plain)
	type holder struct {
		Password Value
		Nested   map[string]Value
		hidden   Value
	}
	h := holder{s, map[string]Value{"k": s}, s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", s, &s, h)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "s", s, "h", h)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "s", s, "h", h)
	if err := json.NewEncoder(&out).Encode(h); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{plain, fmt.Sprintf("%x", plain), fmt.Sprintf("%X", plain)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("shown as %q in:\n%s", form, out.String())
		}
	}
	if !strings.Contains(out.String(), redacted) {
		t.Error("a secret that is there should be seen to be there")
	}
	if s.Reveal() != plain {
		t.Error("Reveal does not tell")
	}
}

func TestTagDependsOnAllItIsMadeOf(t *testing.T) {
	seen := map[[32]byte]string{}
	for _, c := range []struct{ secret, key, use string }{
		{"a", "k", "u"}, {"b", "k", "u"}, {"a", "l", "u"}, {"a", "k", "v"}, {"ua", "k", ""}, {"", "k", "ua"},
	} {
		tag := New(c.secret).Tag([]byte(c.key), c.use)
		if other, ok := seen[tag]; ok {
			t.Errorf("%v has the tag of %s", c, other)
		}
		seen[tag] = fmt.Sprint(c)
	}
}

func TestEqual(t *testing.T) {
	if !New("a").Equal(New("a")) || New("a").Equal(New("b")) || New("a").Equal(New("")) {
		t.Error("Equal is wrong")
	}
}
