package egress

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; nothing that works comes near it.
const patience = 20 * time.Second

// direct is no proxy, whatever the environment says.
func direct(*http.Request) (*url.URL, error) { return nil, nil }
