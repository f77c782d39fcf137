package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// look is how the page is shown.
type look struct {
	name          string
	width, height int
	scheme        string
}

// looks are a phone held upright, of the least width that WCAG asks for (1.4.10),
// and a wall screen, in both schemes.
func looks() []look {
	var all []look
	for _, scheme := range []string{"light", "dark"} {
		all = append(all, look{"phone-" + scheme, 320, 640, scheme}, look{"wall-" + scheme, 1920, 1080, scheme})
	}
	return all
}

// barriers fails the test for each barrier that axe finds in what the page shows
// now, in every look, and for what axe cannot see: what scrolls sideways, what the
// keyboard does not reach, and a focus that is not to be seen.
func (b *browser) barriers(view string) {
	b.t.Helper()
	for _, l := range looks() {
		b.wear(l)
		b.shoot(view + "-" + l.name + ".png")
		for _, f := range b.axe() {
			b.t.Errorf("%s, %s: %s (%s): %s: %s: %s", view, l.name, f.ID, f.Impact, f.Help, f.Target, strings.ReplaceAll(f.Why, "\n", " "))
		}
		if got := b.eval("document.documentElement.scrollWidth <= innerWidth"); got != "true" {
			b.t.Errorf("%s, %s: the page scrolls sideways", view, l.name)
		}
		b.keyboard(view + ", " + l.name)
	}
	b.wear(look{width: 1280, height: 900, scheme: "light"})
}

func (b *browser) wear(l look) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": l.scheme}}})
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": l.width, "height": l.height, "deviceScaleFactor": 1, "mobile": false})
}

// barrier is one that axe found.
type barrier struct{ ID, Impact, Help, Target, Why string }

// noAxe reports whether axe-core could not be had, which make test-page says.
func noAxe() bool { return os.Getenv("P2PD_AXE") == "none" }

// axe runs axe-core, which make test-page names, over what the page shows.
func (b *browser) axe() (found []barrier) {
	b.t.Helper()
	if noAxe() {
		return nil
	}
	if b.eval("typeof axe") == "undefined" {
		source, err := os.ReadFile(os.Getenv("P2PD_AXE"))
		if err != nil {
			b.t.Fatalf("P2PD_AXE is to name the file that e2e/axe/fetch.sh prints: %v", err)
		}
		b.eval(string(source) + "; 'there'")
	}
	got := b.eval(`axe.run(document, {resultTypes: ['violations'], rules: {'target-size': {enabled: true}}}).then(r => JSON.stringify(r.violations.flatMap(v => v.nodes.map(n => (
		{ID: v.id, Impact: v.impact, Help: v.help, Target: n.target.join(' '), Why: n.failureSummary})))))`)
	if err := json.Unmarshal([]byte(got), &found); err != nil {
		b.t.Fatalf("axe says %q: %v", got, err)
	}
	return found
}

// looksHard fails the test unless axe finds what is planted: a button without a
// name, and letters that hardly differ from what is behind them.
func (b *browser) looksHard() {
	b.t.Helper()
	if noAxe() {
		b.t.Log("without axe-core: only what it does not see is looked at")
		return
	}
	b.eval(`(() => { const p = document.createElement('p'); p.id = 'planted'; p.innerHTML = '<button></button><span>faint</span>';
		p.lastChild.style.color = '#ccc'; p.style.background = '#fff'; document.querySelector('main').append(p); })()`)
	var ids []string
	for _, f := range b.axe() {
		ids = append(ids, f.ID)
	}
	if !slices.Contains(ids, "button-name") || !slices.Contains(ids, "color-contrast") {
		b.t.Errorf("of two barriers that were planted axe finds %q", ids)
	}
	b.eval("document.getElementById('planted').remove()")
}

// reachable are the elements that a keyboard must reach.
const reachable = `[...document.querySelectorAll('a[href],button,input,summary,[tabindex="0"]')].filter(e => e.checkVisibility())`

// keyboard goes through the page by Tab. What it reaches is known by its place: the
// page makes rows anew whose figures have changed.
func (b *browser) keyboard(where string) {
	b.t.Helper()
	b.eval("document.activeElement.blur(); window.scrollTo(0, 0); window.reached = new Set(); 'begun'")
	var most int
	if _, err := fmt.Sscan(b.eval(reachable+".length"), &most); err != nil {
		b.t.Fatal(err)
	}
	for range most + 2 { // once around, and past the end
		for _, kind := range []string{"rawKeyDown", "keyUp"} {
			b.call("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9})
		}
		if got := b.eval(`(() => { const e = document.activeElement; if (e === document.body) return '';
			window.reached.add(` + reachable + `.indexOf(e)); const s = getComputedStyle(e); return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 ? '' : e.outerHTML.slice(0, 200) })()`); got != "" {
			b.t.Errorf("%s: the focus is not to be seen on %s", where, got)
		}
	}
	if got := b.eval(reachable + `.filter((_, i) => !window.reached.has(i)).map(e => e.outerHTML.slice(0, 200)).join()`); got != "" {
		b.t.Errorf("%s: the keyboard does not reach %s", where, got)
	}
}

// quiet fails the test if what screen readers read out by themselves changes
// while nothing happens but that the page goes on to be live.
func (b *browser) quiet(view string) {
	b.t.Helper()
	got := b.eval(`new Promise(done => {
		const said = [], read = document.querySelectorAll('[role=status],[role=alert],[role=log],[aria-live],output');
		const seen = new MutationObserver(all => said.push(...all.map(m => m.target.textContent)));
		for (const e of read) seen.observe(e, {subtree: true, childList: true, characterData: true});
		let snapshots = 0, last = document.getElementById('at').textContent;
		const wait = () => {
			const now = document.getElementById('at').textContent;
			if (now !== last) { last = now; snapshots++; }
			if (snapshots < 3) { setTimeout(wait, 50); return; }
			seen.disconnect();
			done(said.join());
		};
		wait();
	})`)
	if got != "" {
		b.t.Errorf("%s: screen readers are told again and again: %q", view, got)
	}
}
