#!/bin/sh
# Every shipped question, asked over ClickHouse's HTTP interface with curl alone.
#
#   queries/examples.sh                     all of them, with their defaults
#   queries/examples.sh cost-by-day days=7  one, with a parameter
#
# The password comes from a netrc file, never from a command line. CLICKHOUSE_URL names another server
# or port, NETRC another file, FORMAT another format than PrettyCompactMonoBlock.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
url=${CLICKHOUSE_URL:-http://127.0.0.1:8123}
netrc=${NETRC:-${TELEMETRY_HOME:-${XDG_STATE_HOME:-$HOME/.local/state}/telemetry}/secrets/netrc}
format=${FORMAT:-PrettyCompactMonoBlock}

# ask NAME [parameter=value ...]: defaults stand in the head of the file, `-- param name Type = value : ...`
ask() {
    file="$here/sql/$1.sql"
    shift
    [ -f "$file" ] || { echo "There is no $file" >&2; exit 2; }
    given=$*
    set -- -sS --fail-with-body --netrc-file "$netrc" --get \
        --data-urlencode 'database=telemetry' --data-urlencode "default_format=$format" \
        --data-urlencode "query@$file"
    defaults=$(sed -n 's/^-- param \([a-z_]*\) [A-Za-z0-9]* = *\([^ :]*\) *:.*/\1=\2/p' "$file")
    for pair in $defaults; do
        case " $given" in *" ${pair%%=*}="*) ;; *) given="$given $pair" ;; esac
    done
    for pair in $given; do
        set -- "$@" --data-urlencode "param_$pair"
    done
    curl "$@" "$url/"
}

if [ $# -gt 0 ]; then
    ask "$@"
    exit
fi
for file in "$here"/sql/*.sql; do
    name=$(basename "$file" .sql)
    printf '\n== %s: %s\n' "$name" "$(sed -n '1s/^-- //p' "$file")"
    case $name in
        session-timeline)
            session=$(FORMAT=TSV ask dearest-sessions limit=1 | cut -f 1)
            ask "$name" "session=$session"
            ;;
        *) ask "$name" ;;
    esac
done
