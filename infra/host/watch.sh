#!/bin/sh
# Every minute: looks at the disk, the queue and the services, and says what is wrong in words that make an
# alert (stacks/cloud/alerts.py). Into the journal, and into Cloud Logging itself, for it is not said anywhere
# that the system's own agent carries lines of our units there.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck disable=SC1090,SC1091
. "${COMMON:-/etc/telemetry/common.sh}"
# shellcheck source=/dev/null
. "$here/settings.sh"

FULL_PERCENT=85 WAITING_SECONDS=900 ROUNDS=3
state=$RUN/watch
now=${NOW:-$(date +%s)}
mkdir -p "$state"
work=$(mktemp -d "$RUN/watch.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/rounds"

# lasting NAME [ROUNDS]: whether something is so for so many rounds on end. What is not asked for has ended.
lasting() {
    rounds=$(($(cat "$state/rounds/$1" 2> /dev/null) + 1))
    printf '%s' "$rounds" > "$work/rounds/$1"
    [ "$rounds" -ge "${2:-$ROUNDS}" ]
}

wrong() { what=$1; shift; printf '%s\n' "$*" >> "$work/$what"; }

# A disk that was made larger: its file system grows while it is in use.
grow_disk() {
    device=$(readlink -f "${DEVICE:-/dev/disk/by-id/google-telemetry-data}") || return 0
    blocks=$(cat "${BLOCKS:-/sys/class/block}/${device##*/}/size" 2> /dev/null) || return 0
    [ "$blocks" != "$(cat "$state/blocks" 2> /dev/null)" ] || return 0
    if resize2fs "$device" > "$work/said" 2>&1; then
        printf '%s' "$blocks" > "$state/blocks"
    else
        wrong disk "its file system does not grow to the size of the disk"
    fi
}

look_at_disk() {
    used=$(df -P "$DISK" | awk 'NR == 2 { print $5 + 0 }')
    [ "${used:-0}" -le "$FULL_PERCENT" ] || wrong disk "the data disk is $used% full"
}

# Of each signal: the bytes that wait, and what was stored since the collector started.
queues() {
    awk '
        !/exporter="clickhouse"/ { next }
        /^otelcol_exporter_queue_size[{]/ { size[/data_type="metrics"/ ? "metrics" : "logs"] += $NF }
        /^otelcol_exporter_sent_log_records[{]/ { sent["logs"] += $NF }
        /^otelcol_exporter_sent_metric_points[{]/ { sent["metrics"] += $NF }
        END { for (signal in size) printf "%s %.0f %.0f\n", signal, size[signal], sent[signal] }
    ' "$work/metrics"
}

# Something is on its way in every busy moment. It waits where nothing was stored since, or more is there than
# is ever on its way.
look_at_queue() {
    curl -sf -o "$work/metrics" --max-time 5 "$COLLECTOR_METRICS" || return 0
    queues | while read -r signal size sent; do
        last=$sent since=$now
        [ ! -f "$state/queue-$signal" ] || read -r last since < "$state/queue-$signal"
        if [ "$size" -eq 0 ] || { [ "$sent" -gt "$last" ] && [ "$size" -le "$QUEUE_AT_WORK" ]; }; then
            since=$now
        fi
        printf '%s %s\n' "$sent" "$since" > "$state/queue-$signal"
        [ $((now - since)) -le "$WAITING_SECONDS" ] \
            || wrong queue "$signal have waited in the collector's queue for $(((now - since) / 60)) minutes"
    done
}

answers() {
    case "$1" in
        clickhouse) curl -sf -o /dev/null --max-time 5 "$CLICKHOUSE_PING" ;;
        collector) curl -sf -o /dev/null --max-time 5 "$COLLECTOR_HEALTH" ;;
        edge)
            result=0
            curl -sk -o /dev/null --max-time 5 --connect-to "::$EDGE_ADDRESS" \
                "https://${EDGE_NAME:-$(cat "$RUN/address")}/healthz" || result=$?
            case "$CLIENT_CERTIFICATES $result" in
                *' 0') ;;
                *' 7' | *' 28') return 1 ;;  # not connected, no answer in time
                # We have no certificate to show, and to be refused is an answer.
                *) [ "$CLIENT_CERTIFICATES" = 1 ] ;;
            esac
            ;;
    esac
}

look_at_services() {
    for service in $SERVICES; do
        # One that is being started need not answer; where it does not start, apply.sh says so.
        if [ -f "$UNITS/telemetry-$service.service" ] && [ ! -f "$RUN/due/restart-$service" ] \
            && ! answers "$service" && lasting "answer-$service"; then
            wrong health "$service does not answer"
        fi
    done
    systemctl list-units --state=failed --plain --no-legend 'telemetry-*' > "$work/failed" || return 0
    while read -r unit _; do
        ! lasting "unit-$unit" || wrong health "$unit has failed"
    done < "$work/failed"
}

# What fetch.sh and apply.sh say again and again. What a program said, after the colon, stays in the journal.
look_at_configuration() {
    for file in "$RUN"/said/*; do
        name=${file##*/} before=
        case "$name" in
            refused) lasting "said-$name" 1 || continue; before="what was fetched is refused: " ;;
            # Before the first start it waits for people.
            waiting) [ -f "$UNITS/telemetry-edge.service" ] || continue; lasting "said-$name" || continue ;;
            bundle | secrets | metadata | restart-* | reload-*) lasting "said-$name" || continue ;;
            *) continue ;;
        esac
        wrong health "$before$(sed 's/: .*//; 1q' "$file" 2> /dev/null)"
    done
}

# post SEVERITY TEXT: whether Cloud Logging took it.
post() {
    { log_in && metadata id > "$work/id" && metadata zone > "$work/zone"; } || return 1
    zone=$(cat "$work/zone")
    printf '{"logName":"projects/%s/logs/telemetry","resource":{"type":"gce_instance","labels":{' "$PROJECT" > "$work/entry"
    printf '"project_id":"%s","instance_id":"%s","zone":"%s"}},' "$PROJECT" "$(cat "$work/id")" "${zone##*/}" >> "$work/entry"
    printf '"entries":[{"severity":"%s","textPayload":"%s"}]}' "$1" "$2" >> "$work/entry"
    code=$(get "$LOGGING/v2/entries:write" "$work/answer" -H "@$work/header" -H 'Content-Type: application/json' \
        --data-binary "@$work/entry")
    [ "$code" = 200 ] || { say_once logging "Cloud Logging takes nothing ($code)."; return 1; }
    settled logging
}

due() { [ -z "$(find "$1" -mmin -10 2> /dev/null)" ]; }

# tell WHAT WORDS: every ten minutes while it lasts, and once when it is over.
tell() {
    said=$state/said-$1 sent=$state/sent-$1
    if [ -s "$work/$1" ]; then
        text="$2: $(awk 'NR > 1 { printf "; " } { printf "%s", $0 }' "$work/$1" | LC_ALL=C tr -d '\042\134' \
            | LC_ALL=C tr -c ' -~' ' ' | cut -c 1-600)"
        if due "$said"; then say "$text"; : > "$said"; fi
        if due "$sent" && post ERROR "$text"; then : > "$sent"; fi
    else
        # Without the words, which would make an alert.
        text="${2%% *}: $1 is in order again"
        if [ -f "$said" ]; then say "$text"; rm -f "$said"; fi
        if [ -f "$sent" ] && post NOTICE "$text"; then rm -f "$sent"; fi
    fi
}

# No purge reaches what the collector sets aside here, so it stays for three weeks: the open file is closed after one,
# and a closed one goes after two more.
keep_aside_short() {
    aside=$DISK/queue/aside open=$DISK/queue/aside/aside.jsonl since=$DISK/queue/aside/.since
    [ -d "$aside" ] || return 0
    find "$aside" -name 'aside-*.jsonl' -mtime +13 -exec rm -f {} +
    [ -s "$open" ] || { rm -f "$since"; return 0; }
    [ -f "$since" ] || : > "$since"
    [ -n "$(find "$since" -mmin +10080)" ] || return 0
    mv "$open" "$aside/aside-$(date -u +%Y-%m-%dT%H-%M-%S).000.jsonl"
    rm -f "$since"
    # It writes on into what was moved, until it reads its configuration anew.
    docker kill --signal HUP telemetry-collector > /dev/null 2>&1 || say "the collector cannot be told of its new file."
}

keep_aside_short
grow_disk
look_at_disk
look_at_queue
look_at_services
look_at_configuration
rm -rf "$state/rounds"
mv "$work/rounds" "$state/rounds"
tell disk "$ALERT_DISK"
tell queue "$ALERT_QUEUE"
tell health "$ALERT_HEALTH"
