#!/bin/sh
# Weekly: starts the machine again where something waits for that: an update of its system, which the system
# fetches by itself, or another user-data than this start has applied.
set -eu
umask 077
# shellcheck disable=SC1091
. "$(dirname "$0")/common.sh"

mkdir -p "$RUN"
work=$(mktemp -d "$RUN/updates.XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0

restart() {
    say "$*: the machine starts again."
    systemctl reboot
    exit
}

if status=$(update_engine_client --status 2>&1); then
    case "$status" in
        *UPDATE_STATUS_UPDATED_NEED_REBOOT*) restart "an update of the system waits" ;;
    esac
else
    say "updates of the system cannot be asked for: $status"
    failed=1
fi
if metadata attributes/user-data > "$work/user-data"; then
    [ "$(sed -n 's/^ *USER_DATA=\([0-9a-f]*\)$/\1/p' "$work/user-data")" = "$USER_DATA" ] \
        || restart "another user-data waits"
else
    say "the metadata server does not tell the user-data."
    failed=1
fi
exit "$failed"
