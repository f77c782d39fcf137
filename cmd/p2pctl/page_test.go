package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The live page, in a real browser, over a scheduler with two peers and a swarm
// that fills: nothing is shown before the token, then it is live, has no errors,
// and loads nothing from elsewhere.
func TestTheLivePage(t *testing.T) {
	b := startBrowser(t, 1280, 900, false)
	c := newCluster(t, 2, true)
	token, err := os.ReadFile(c.tokenFile)
	if err != nil {
		t.Fatal(err)
	}
	img := c.push(t, "1", random3(t))
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	blob := m.Layers[0].Digest
	b.open("http://" + c.server + "/ui/")
	b.until("!document.getElementById('login').hidden")
	if text := b.eval("document.body.innerText"); strings.Contains(text, "Saved") {
		t.Errorf("without the token the page shows %q", text)
	}
	b.looksHard()
	b.barriers("login")
	login := func(token string) {
		b.eval(fmt.Sprintf("document.getElementById('token').value = %q; document.getElementById('login').requestSubmit()", token))
	}
	login("not-the-token-at-all")
	b.until("document.getElementById('refused').textContent.includes('not the token')")
	login(strings.TrimSpace(string(token)))
	b.until("document.getElementById('peers').textContent === '2'")
	b.until("!document.getElementById('noSwarms').hidden")
	for i := range c.nodes {
		c.pull(t, i, "team/app/blobs/"+blob.String())
	}
	b.until("document.getElementById('swarmRows').innerText.includes('" + blob.Hex[:12] + "')")
	b.until("document.getElementById('saved').textContent === '50 %'")
	// One node has it from the registry, the other one from another zone.
	b.until("document.getElementById('zoneRows').rows.length === 2 && document.getElementById('zoneRows').innerText.includes('zone-1')")
	b.until("[...document.querySelectorAll('#zoneRows rect')].map(r => r.getAttribute('class')).sort().join() === 'far,leased'")
	b.shoot("swarms.png")
	b.barriers("swarms")
	// Who is at a link stays there while others come and all is told anew.
	const at = "document.activeElement.hash"
	b.eval("document.querySelector('#swarmRows a').focus()")
	was := b.eval(at)
	for i := range c.nodes {
		c.pull(t, i, "team/app/blobs/"+m.Layers[1].Digest.String())
	}
	b.until("document.getElementById('swarmRows').rows.length === 2 && [...document.getElementById('swarmRows').rows].every(r => r.cells[3].textContent === '2')")
	if is := b.eval(at); was == "" || is != was {
		t.Errorf("the focus was at %s and is at %s", was, is)
	}
	b.eval("location.hash = '#/swarm/" + blob.String() + "'")
	b.until("document.getElementById('memberRows').rows.length === 2")
	b.until("document.getElementById('memberRows').innerText.includes('has all')")
	b.until("document.getElementById('flowRows').rows.length === 2 && document.querySelectorAll('#flowRows rect').length === 2")
	b.until("document.getElementById('heat').getAttribute('aria-label').includes('100 %')")
	// The first and the last piece of the first peer are green.
	b.until(`(() => { const h = document.getElementById('heat'), c = h.getContext('2d'); return [2, h.width - 4].every(x => { const p = c.getImageData(x, 3, 1, 1).data; return p[1] > p[0] + 40 }) })()`)
	b.shoot("swarm.png")
	b.barriers("swarm")
	b.quiet("swarm")
	b.eval("location.hash = '#/peers'")
	b.until("document.getElementById('peerRows').rows.length === 2")
	b.shoot("peers.png")
	b.barriers("peers")
	c.push(t, "2", random3(t))
	b.eval("location.hash = '#/preheats'")
	b.until("!document.getElementById('noJobs').hidden")
	job := strings.TrimPrefix(strings.TrimSpace(c.run(t, 0, "preheat", "create", c.registry+"/team/app:2", "--all", "--wait", "-o", "name")), "preheat/")
	b.until("document.getElementById('jobRows').innerText.includes('succeeded') && document.getElementById('jobRows').innerText.includes('100 %')")
	b.shoot("preheats.png")
	b.barriers("preheats")
	b.eval("location.hash = '#/preheat/" + job + "'")
	b.until("document.getElementById('nodeRows').rows.length === 2 && document.getElementById('jobText').textContent.includes('2 of 2 nodes have all')")
	b.shoot("preheat.png")
	b.barriers("preheat")
	if got := b.eval("performance.getEntriesByType('resource').every(e => e.name.startsWith(location.origin) || e.name.startsWith('data:'))"); got != "true" {
		t.Errorf("something comes from elsewhere: %s", b.eval("JSON.stringify(performance.getEntriesByType('resource').map(e => e.name))"))
	}
	// The browser logs each 401 itself, and that this test looks at pixels.
	if wrong := b.troubles("the server responded with a status of 401", "willReadFrequently"); len(wrong) > 0 {
		t.Errorf("the page has errors: %v", wrong)
	}
	// Every control and table has a name, every image a text.
	if got := b.eval(`[...document.querySelectorAll('input,button,canvas,progress,[role=region]')].filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || (e.labels && e.labels.length))).map(e => e.outerHTML).join()`); got != "" {
		t.Errorf("these have no name: %s", got)
	}
}
