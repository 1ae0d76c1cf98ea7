#!/bin/sh
# Applies the numbered schema files over HTTP, then stays as the health probe of the stack.
#
#   runner.sh apply   apply what is pending and end
#   runner.sh stay    apply, then wait until stopped (probe looks at the rest)
#   runner.sh probe   exit 0 when the schema is current and the collector answers
#
# Follows infra/warehouse/migrations.py, which also says why. POSIX sh with wget (GNU), awk, sed,
# sha256sum. The password comes from the file that WGETRC names, never from a command line.
set -eu

here=${SCHEMA_DIR:-/schema}
url=${CLICKHOUSE_URL:?CLICKHOUSE_URL must name the ClickHouse HTTP endpoint}
export WGETRC="${WGETRC:-$here/wgetrc}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 0' TERM INT

say() { printf 'schema: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# Runs one statement from standard input; prints the answer, or the error and fails.
query() {
    cat > "$work/statement"
    if ! wget -q -O "$work/answer" --content-on-error --tries=1 --timeout=60 --auth-no-challenge \
        --post-file="$work/statement" "$url/"; then
        sed 's/^/schema: ClickHouse says: /' "$work/answer" >&2 2>/dev/null || true
        return 1
    fi
    cat "$work/answer"
}

checksum() { sha256sum "$1" | cut -d ' ' -f 1; }

recorded() {
    printf '%s' "SELECT name, checksum FROM telemetry.schema_migrations FINAL ORDER BY name" | query
}

landing_tables() {
    printf '%s' "SELECT name FROM system.tables WHERE database = 'telemetry' AND engine = 'Null'" | query
}

# While files are applied, landing tables refuse rows: a column that no insert names has a default that fails.
closed="closed UInt8 DEFAULT throwIf(rand() >= 0, 'the schema is being brought up to date')"

close_tables() {
    landing_tables > "$work/landing"
    while read -r table; do
        printf 'ALTER TABLE telemetry.%s ADD COLUMN IF NOT EXISTS %s' "$table" "$closed" | query > /dev/null
    done < "$work/landing"
    tries=0
    while [ "$(printf '%s' "SELECT count() FROM system.processes WHERE user = 'telemetry_ingest'" | query)" != 0 ] \
        && [ "$tries" -lt 60 ]; do
        tries=$((tries + 1)); sleep 1
    done
}

open_tables() {
    landing_tables > "$work/landing"
    while read -r table; do
        printf 'ALTER TABLE telemetry.%s DROP COLUMN IF EXISTS closed' "$table" | query > /dev/null
    done < "$work/landing"
}

# Splits a file into one file a statement; one ends where a line ends in a semicolon.
split() {
    awk -v out="$2" '
        function flush() { if (code) { n++; printf "%s", text > sprintf("%s/%03d.sql", out, n) } text = ""; code = 0 }
        { line = $0; last = 0 }
        line ~ /;[ \t]*$/ { sub(/;[ \t]*$/, "", line); last = 1 }
        line !~ /^[ \t]*(--.*)?$/ { code = 1 }
        { text = text line "\n" }
        last { flush() }
        END { flush() }
    ' "$1"
}

apply_file() {
    name=$(basename "$1")
    rm -rf "$work/parts"; mkdir "$work/parts"
    split "$1" "$work/parts"
    for part in "$work"/parts/*.sql; do
        # A landing table is closed from the first.
        if grep -q '^ENGINE = Null$' "$part"; then
            sed -i "s/^(\$/(\n    $closed,/" "$part"
        fi
        query < "$part" > /dev/null || fail "$name could not be applied; it is tried again from its start at the next run"
    done
    printf "INSERT INTO telemetry.schema_migrations (name, checksum) VALUES ('%s', '%s')" \
        "$name" "$(checksum "$1")" | query > /dev/null
    say "applied $name"
}

# Statements before and after the numbered files, each time: what a cluster needs besides (scale.py).
apply_beside() {
    [ -s "$here/$1.sql" ] || return 0
    rm -rf "$work/parts"; mkdir "$work/parts"
    split "$here/$1.sql" "$work/parts"
    for part in "$work"/parts/*.sql; do
        query < "$part" > /dev/null || fail "$1.sql could not be applied; it is tried again at the next run"
    done
}

apply_retention() {
    while IFS="$(printf '\t')" read -r table expression; do
        [ -n "$table" ] || continue
        current=$(printf "SELECT position(create_table_query, 'TTL %s') > 0 FROM system.tables WHERE database = 'telemetry' AND name = '%s'" \
            "$expression" "$table" | query)
        if [ "$current" != "1" ]; then
            printf 'ALTER TABLE telemetry.%s MODIFY TTL %s' "$table" "$expression" | query > /dev/null
            say "retention of $table is now $expression"
        fi
    done < "$here/retention.tsv"
}

apply_views() {
    while IFS="$(printf '\t')" read -r view checksum statement; do
        [ -n "$view" ] || continue
        current=$(printf "SELECT comment FROM system.tables WHERE database = 'telemetry' AND name = '%s'" "$view" | query)
        if [ "$current" != "$checksum" ]; then
            printf '%s' "$statement" | query > /dev/null
            say "wrote $view"
        fi
    done < "$here/views.tsv"
}

apply() {
    apply_beside before
    printf 'CREATE DATABASE IF NOT EXISTS telemetry' | query > /dev/null || fail "ClickHouse does not answer at $url"
    printf '%s' "CREATE TABLE IF NOT EXISTS telemetry.schema_migrations (name String COMMENT 'Schema file', checksum String COMMENT 'SHA-256 of the file', applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = ReplacingMergeTree ORDER BY name" \
        | query > /dev/null
    recorded > "$work/recorded"
    while IFS="$(printf '\t')" read -r name _; do
        [ -z "$name" ] || [ -f "$here/ddl/$name" ] \
            || fail "the database has $name, which this version does not know: it was written by a newer version. Update this one."
    done < "$work/recorded"
    : > "$work/pending"
    for file in "$here"/ddl/*.sql; do
        name=$(basename "$file")
        was=$(awk -F '\t' -v name="$name" '$1 == name { print $2 }' "$work/recorded")
        if [ -z "$was" ]; then
            printf '%s\n' "$file" >> "$work/pending"
        elif [ "$was" != "$(checksum "$file")" ]; then
            fail "$name was edited after it had been applied. Restore it (\`git checkout infra/warehouse/ddl/$name\`) and put the change in a new file."
        fi
    done
    [ ! -s "$work/pending" ] || close_tables
    while read -r file; do apply_file "$file"; done < "$work/pending"
    open_tables
    apply_retention
    apply_views
    apply_beside after
    say "current"
}

probe() {
    recorded > "$work/recorded" || exit 1
    for file in "$here"/ddl/*.sql; do
        grep -q "^$(basename "$file")	$(checksum "$file")\$" "$work/recorded" \
            || fail "$(basename "$file") is not applied"
    done
    [ -z "${COLLECTOR_HEALTH_URL:-}" ] \
        || wget -q -O /dev/null --tries=1 --timeout=3 "$COLLECTOR_HEALTH_URL" \
        || fail "the collector does not answer at $COLLECTOR_HEALTH_URL"
}

case "${1:-}" in
    apply) apply ;;
    stay)
        apply
        # `wait` lets the trap above act at once, where a foreground sleep would not.
        while :; do sleep 3600 & wait $!; done
        ;;
    probe) probe ;;
    *) fail "usage: runner.sh apply|stay|probe" ;;
esac
