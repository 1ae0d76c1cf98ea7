#!/bin/sh
# Weekly: starts the machine again where an update of its system waits for that. The system fetches its
# updates by itself.
set -eu
status=$(update_engine_client --status 2>&1) || {
    printf 'telemetry: updates of the system cannot be asked for: %s\n' "$status" >&2
    exit 1
}
case "$status" in
    *UPDATE_STATUS_UPDATED_NEED_REBOOT*)
        printf 'telemetry: an update of the system waits: the machine starts again.\n' >&2
        systemctl reboot
        ;;
esac
