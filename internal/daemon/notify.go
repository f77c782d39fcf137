package daemon

import (
	"log/slog"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// started tells systemd, where it runs the program as a unit of Type=notify, that
// the program's sockets are open. Elsewhere it does nothing.
func started(log *slog.Logger) {
	if _, err := systemd.SdNotify(false, systemd.SdNotifyReady); err != nil {
		log.Warn("systemd was not told that this program has started", "error", err)
	}
}
