#!/bin/sh
# Where things are on the machine; sourced by the other scripts. What host.env says wins, so that the
# whole can be tried below another root, with stand-ins for Google's endpoints.
# shellcheck disable=SC2034,SC1090

[ ! -f "${TELEMETRY_ENV:=/etc/telemetry/host.env}" ] || . "$TELEMETRY_ENV"
: "${ROOT:=}"
: "${RUN:=$ROOT/run/telemetry}"
: "${DISK:=$ROOT/mnt/disks/telemetry}"
: "${UNITS:=$ROOT/etc/systemd/system}"
: "${METADATA:=http://metadata.google.internal}"
: "${SECRET_MANAGER:=https://secretmanager.googleapis.com}"
: "${STORAGE:=https://storage.googleapis.com}"
: "${LOGGING:=https://logging.googleapis.com}"
: "${HTTPS_PORT:=443}" "${HTTP_PORT:=80}" "${QUERY_PORT:=8123}"
: "${OWNER:=101}"
# Of the user-data that this start has applied.
: "${USER_DATA:=}"

# Into the journal.
say() { printf 'telemetry: %s\n' "$*" >&2; }

# The same, but not again every twenty seconds: when it changes, and every ten minutes.
say_once() {
    what=$1; shift
    mkdir -p "$RUN/said"
    if [ -n "$(find "$RUN/said/$what" -mmin -10 2>/dev/null)" ] && [ "$(cat "$RUN/said/$what")" = "$*" ]; then
        return
    fi
    printf '%s' "$*" > "$RUN/said/$what"
    say "$*"
}

settled() { rm -f "$RUN/said/$1"; }

# What follows writes into this folder, which each script has of its own.
work=

# get URL FILE [options]: the status of the answer; 000 where there was none, or half of one.
get() {
    url=$1 file=$2; shift 2
    code=$(curl -s --max-time 20 --connect-timeout 5 -o "$file" -w '%{http_code}' "$@" "$url") || code=000
    printf '%s' "$code"
}

metadata() {
    [ "$(get "$METADATA/computeMetadata/v1/instance/$1" "$work/answer" -H 'Metadata-Flavor: Google')" = 200 ] \
        && cat "$work/answer"
}

# The header for Google's endpoints, in $work/header: not on a command line.
log_in() {
    metadata service-accounts/default/token > "$work/token" || return 1
    token=$(sed -n 's/.*"access_token" *: *"\([^"]*\)".*/\1/p' "$work/token")
    [ -n "$token" ] || return 1
    printf 'Authorization: Bearer %s\n' "$token" > "$work/header"
}
