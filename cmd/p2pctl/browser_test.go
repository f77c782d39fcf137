package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// browser is one page of a real Chromium, driven by its DevTools protocol.
type browser struct {
	t  *testing.T
	ws *websocket.Conn

	mu      sync.Mutex // guards what follows
	last    int
	replies map[int]chan reply
	wrong   []string // errors of the console, exceptions, and what the policy forbade
	ended   chan struct{}
}

type reply struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// startBrowser opens an empty page of so many points. It is part of `make
// test-page`; there a missing Chromium is a failure.
func startBrowser(t *testing.T, width, height int, dark bool) *browser {
	t.Helper()
	if os.Getenv("P2PD_BROWSER") != "1" {
		t.Skip("the page needs Chromium: run 'sudo make test-page'")
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	cmd := exec.Command(path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0", //nolint:gosec // the test's own browser
		"--user-data-dir="+t.TempDir(), "--no-first-run", "--disable-background-networking", fmt.Sprintf("--window-size=%d,%d", width, height), "about:blank")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	at := make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if _, url, ok := strings.Cut(lines.Text(), "DevTools listening on ws://"); ok {
				at <- strings.SplitN(url, "/", 2)[0]
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait() // it was killed
	})
	select {
	case host := <-at:
		b := &browser{t: t, replies: make(map[int]chan reply), ended: make(chan struct{})}
		b.connect(host)
		b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
		b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false})
		return b
	case <-time.After(patience):
		t.Fatal("chromium does not say where it listens")
		return nil
	}
}

func (b *browser) connect(host string) {
	b.t.Helper()
	var pages []struct {
		Type string `json:"type"`
		URL  string `json:"webSocketDebuggerUrl"`
	}
	cl := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		res, err := cl.Get("http://" + host + "/json")
		if err == nil {
			err = json.NewDecoder(res.Body).Decode(&pages)
			res.Body.Close()
		}
		if err == nil && len(pages) > 0 && pages[0].Type == "page" {
			break
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("chromium has no page: %v", err)
		}
	}
	ws, err := websocket.Dial(pages[0].URL, "", "http://"+host)
	if err != nil {
		b.t.Fatal(err)
	}
	ws.MaxPayloadBytes = 64 << 20
	b.ws = ws
	go b.listen()
	b.t.Cleanup(func() { _ = ws.Close(); <-b.ended })
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.call(domain+".enable", nil)
	}
}

// listen hands answers out and notes what goes wrong in the page.
func (b *browser) listen() {
	defer close(b.ended)
	for {
		var r reply
		if err := websocket.JSON.Receive(b.ws, &r); err != nil {
			return
		}
		b.mu.Lock()
		if ch := b.replies[r.ID]; ch != nil {
			ch <- r
			delete(b.replies, r.ID)
		}
		switch r.Method {
		case "Runtime.exceptionThrown", "Log.entryAdded":
			b.wrong = append(b.wrong, string(r.Params))
		case "Runtime.consoleAPICalled":
			if strings.Contains(string(r.Params), `"type":"error"`) {
				b.wrong = append(b.wrong, string(r.Params))
			}
		}
		b.mu.Unlock()
	}
}

func (b *browser) call(method string, params any) json.RawMessage {
	b.t.Helper()
	b.mu.Lock()
	b.last++
	id, ch := b.last, make(chan reply, 1)
	b.replies[id] = ch
	b.mu.Unlock()
	if err := websocket.JSON.Send(b.ws, map[string]any{"id": id, "method": method, "params": params}); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case r := <-ch:
		if r.Error != nil {
			b.t.Fatalf("%s: %s", method, r.Error.Message)
		}
		return r.Result
	case <-time.After(patience):
		b.t.Fatalf("%s: no answer", method)
	case <-b.ended:
		b.t.Fatalf("%s: chromium is gone", method)
	}
	return nil
}

// eval is the value of an expression in the page, as text.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	var r struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text string `json:"text"`
		} `json:"exceptionDetails"`
	}
	if err := json.Unmarshal(b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}), &r); err != nil {
		b.t.Fatal(err)
	}
	if r.Exception != nil {
		b.t.Fatalf("%s: %s", expression, r.Exception.Text)
	}
	return fmt.Sprint(r.Result.Value)
}

// until waits for an expression to be true.
func (b *browser) until(expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); b.eval(expression) != "true"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited in vain until %s; the page says:\n%s", expression, b.eval("document.body.innerText"))
		}
	}
}

// open goes to a page.
func (b *browser) open(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url})
	b.until("document.readyState === 'complete'")
}

// troubles are what went wrong in the page so far, but for lines that have one
// of the parts.
func (b *browser) troubles(but ...string) (found []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.wrong {
		ignored := false
		for _, part := range but {
			ignored = ignored || strings.Contains(w, part)
		}
		if !ignored {
			found = append(found, w)
		}
	}
	return found
}

// shoot writes a picture of the page, if P2PD_PICTURES names a folder for them.
func (b *browser) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("P2PD_PICTURES")
	if dir == "" {
		return
	}
	var r struct {
		Data string `json:"data"`
	}
	if err := json.Unmarshal(b.call("Page.captureScreenshot", map[string]any{"format": "png"}), &r); err != nil {
		b.t.Fatal(err)
	}
	f, err := os.Create(dir + "/" + name)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, base64.NewDecoder(base64.StdEncoding, strings.NewReader(r.Data))); err != nil {
		b.t.Fatal(err)
	}
	b.t.Log("picture:", f.Name())
}
