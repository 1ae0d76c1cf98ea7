#!/bin/sh
# Makes of the bundle and the secrets what the services are given; checks it with their own programs; puts
# it in place of the old; and lets each service know that is concerned, and no other.
set -eu
umask 027
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck disable=SC1090,SC1091
. "${COMMON:-/etc/telemetry/common.sh}"
# shellcheck source=/dev/null
. "$here/settings.sh"

rejected=$RUN/rejected-$(basename "$here")
secrets=$RUN/secrets config=$RUN/config new=$RUN/new due=$RUN/due
now=${NOW:-$(date +%s)}
work=$(mktemp -d "$RUN/apply.XXXXXX")
trap 'rm -rf "$work" "$new"' EXIT

# Nothing can be done until somebody does something.
wait_for() { [ "$here" != "$RUN/bundle" ] || say_once waiting "$*"; older; exit 0; }
refuse() { say_once refused "$* The old configuration stays."; older; exit 1; }
# What a program said, as far as it goes on a line.
why() { { grep -i -m 3 'error\|panic' "$work/said" || tail -n 3 "$work/said"; } | tr '\n' ' ' | cut -c 1-500; }
# The old stays; yet a member who is off the list is off, whatever a new bundle waits for or is refused for.
older() {
    rm -rf "$work" "$new"
    if [ "$here" = "$RUN/bundle" ] && [ -f "$RUN/good/apply.sh" ]; then
        sh "$RUN/good/apply.sh" || true
    fi
}

key() { sed -n "s/^$1=\([A-Za-z0-9_-]*\)\$/\1/p" "$secrets/keys" | head -n 1; }
hash_of() { printf '%s' "$1" | sha256sum | cut -d ' ' -f 1; }
# Contents and names of the files in a folder; nothing where it is not there.
listed() { [ ! -d "$1" ] || (cd "$1" && find . -type f -exec sha256sum {} + | LC_ALL=C sort); }
digest() { listed "$1" | sha256sum; }

fill_in() {
    sed -e "s|@ROOT@|$ROOT|g; s|@RUN@|$RUN|g; s|@DISK@|$DISK|g; s|@HTTPS_PORT@|$HTTPS_PORT|g" \
        -e "s|@HTTP_PORT@|$HTTP_PORT|g; s|@QUERY_PORT@|$QUERY_PORT|g; s|@ADDRESS@|$address|g; s|@EDGE_LOG@|$edge_log|g; s|@CA@|$ca|g" "$1" > "$2"
}

expand() {
    LC_ALL=C awk -f "$here/expand.awk" -v now="$now" "$@" < "$work/members" 2> "$work/why" \
        || refuse "$(cat "$work/why")."
}

# Blocks of a PEM file, each its own file of three digits in a folder.
pem_blocks() {
    awk -v what="$3" -v out="$2" '
        /^-----BEGIN / { inside = index($0, what) > 0; if (inside) file = sprintf("%s/%03d.pem", out, ++n) }
        inside { print > file }
        /^-----END / { if (inside) close(file); inside = 0 }
    ' "$1"
}

# Public keys of the issuer, fetched again every hour; an issuer that is away leaves the last ones.
issuer_keys() {
    keys=$DISK/oidc/keys.json
    if [ -z "$(find "$keys" -mmin -60 2> /dev/null)" ]; then
        if curl -sf --max-time 10 -o "$work/discovery" "$OIDC_ISSUER/.well-known/openid-configuration" \
            && url=$(tr -d '\n' < "$work/discovery" | sed -n 's/.*"jwks_uri" *: *"\(https:[^"]*\)".*/\1/p') \
            && [ -n "$url" ] && curl -sf --max-time 10 -o "$work/keys.json" "$url" \
            && grep -q '"keys"' "$work/keys.json"; then
            cp "$work/keys.json" "$keys.new"
            mv "$keys.new" "$keys"
            settled issuer
        else
            say_once issuer "the keys of $OIDC_ISSUER cannot be fetched; the last ones stay."
        fi
    fi
    [ -s "$keys" ] || wait_for "tokens of $OIDC_ISSUER are to be taken, and its keys could not be fetched yet."
    cp "$keys" "$new/collector/secrets/oidc-keys.json"
}

[ -s "$secrets/keys" ] && [ -n "$(key admin_password)" ] && [ -n "$(key ingest_password)" ] && [ -n "$(key pseudonym_key)" ] \
    || wait_for "there are no keys yet: run \`telemetry member add NAME --on cloud\` on your own machine."
cat "$secrets"/members-* 2> /dev/null | LC_ALL=C sort > "$work/members" || true
# Later an empty list is one: the last was taken off.
[ -s "$work/members" ] || [ -d "$config" ] || wait_for "there is no member yet: run \`telemetry member add NAME --on cloud\` on your own machine."
address=$(cat "$RUN/address" 2> /dev/null) || address=
case "$address" in
    '' | *[!0-9.]*) wait_for "the metadata server has not said the address of this machine yet." ;;
esac

# The folder of the edge's log has a name that nobody guesses (infra/services.py).
# The edge may write there, so no name is taken but such as is made here.
edge_log=$(find "$DISK/edge-log" -mindepth 1 -maxdepth 1 -type d | sed -n 's|.*/\([0-9a-f]\{32\}\)$|\1|p' | head -n 1)
if [ -z "$edge_log" ]; then
    edge_log=$(head -c 32 /dev/urandom | sha256sum | cut -c 1-32)
    mkdir "$DISK/edge-log/$edge_log"
    chown "$OWNER:$OWNER" "$DISK/edge-log/$edge_log"
fi

rm -rf "$new"
cp -R "$here/config" "$new"
mkdir -p "$new/schema" "$new/clickhouse/users.d" "$new/collector/secrets" "$new/edge/secrets/clients/allowed" "$new/units"
admin=$(hash_of "$(key admin_password)") ingest=$(hash_of "$(key ingest_password)")
expand -v what=users -v templates="$here/users" -v admin="$admin" -v ingest="$ingest" > "$new/clickhouse/users.d/telemetry.xml"
expand -v what=htpasswd > "$new/collector/secrets/htpasswd"
printf '%s' "$(key ingest_password)" > "$new/collector/secrets/clickhouse-ingest"
printf '%s' "$(key pseudonym_key)" > "$new/collector/secrets/pseudonym-key"
printf 'http_user = telemetry_admin\nhttp_password = %s\n' "$(key admin_password)" > "$new/schema/wgetrc"
ca=public
if [ "$OWN_CA" = 1 ]; then
    [ -s "$secrets/edge" ] || wait_for "there is no CA yet: run \`telemetry member add NAME --on cloud\` on your own machine."
    mkdir "$work/certificate" "$work/key"
    pem_blocks "$secrets/edge" "$work/certificate" CERTIFICATE
    pem_blocks "$secrets/edge" "$work/key" KEY
    cp "$work/certificate/001.pem" "$new/edge/secrets/ca.pem" 2> /dev/null || refuse "the secret of the edge has no certificate."
    cp "$work/key/001.pem" "$new/edge/secrets/ca.key" 2> /dev/null || refuse "the secret of the edge has no key."
    ca=own-$(sha256sum < "$new/edge/secrets/ca.pem" | cut -c 1-16)
fi
fill_in "$here/config/edge/caddy.json" "$new/edge/caddy.json"
if [ "$CLIENT_CERTIFICATES" = 1 ]; then
    [ -s "$secrets/client-certificates" ] \
        || wait_for "client certificates are asked for and there are none yet: run \`telemetry member rotate NAME --on cloud\` on your own machine."
    pem_blocks "$secrets/client-certificates" "$new/edge/secrets/clients/allowed" CERTIFICATE
    mv "$new/edge/secrets/clients/allowed/001.pem" "$new/edge/secrets/clients/ca.pem" 2> /dev/null \
        || refuse "the secret of the client certificates holds none."
fi
[ -z "$OIDC_ISSUER" ] || issuer_keys
for unit in "$here"/units/*.service; do fill_in "$unit" "$new/units/$(basename "$unit")"; done
[ "$here" != "$RUN/bundle" ] || settled waiting

# What is concerned: `restart X` or `reload X`, done below, and again as long as it does not succeed.
mkdir -p "$due"
changed=
concerns() { case " $changed " in *" $1 "*) ;; *) changed="$changed $1" ;; esac; }
for service in $SERVICES limit; do
    folder=$service
    [ "$service" != clickhouse ] || folder=clickhouse/config.d
    if [ "$(digest "$new/$folder")" != "$(digest "$config/$folder")" ]; then
        case "$service" in
            collector | edge) printf 'reload %s\n' "$service" >> "$work/due" ;;
            *) printf 'restart %s\n' "$service" >> "$work/due" ;;
        esac
        concerns "$service"
    fi
    if [ "$(cat "$new/units/telemetry-$service.service")" != "$(cat "$UNITS/telemetry-$service.service" 2> /dev/null)" ]; then
        printf 'restart %s\n' "$service" >> "$work/due"
        concerns "$service"
    fi
done
# Caddy goes on with certificates that it has, whoever signed them.
if [ "$OWN_CA" = 1 ] && [ -f "$config/edge/caddy.json" ] && ! grep -q "/$ca\"" "$config/edge/caddy.json"; then
    printf 'restart edge\n' >> "$work/due"
fi
# ClickHouse itself watches the file of its users; one that runs elsewhere has them from its operator.
case " $SERVICES " in
    *" clickhouse "*) [ "$(digest "$new/clickhouse/users.d")" = "$(digest "$config/clickhouse/users.d")" ] || concerns clickhouse ;;
esac

kept=
if [ -n "$changed" ]; then
    whole=$(digest "$new")
    if [ "$(cat "$rejected" 2> /dev/null)" = "$whole" ] && [ -n "$(find "$rejected" -mmin -5)" ]; then
        older  # said already
        exit 1
    fi
    chown -R "0:$OWNER" "$new"
    chmod -R u=rwX,g=rX,o= "$new"
    for service in $changed; do
        [ "$service" != limit ] || continue
        image=$(image "$service")
        docker image inspect "$image" > /dev/null 2>&1 || docker pull --quiet "$image" > "$work/said" 2>&1 \
            || refuse "the image $image cannot be fetched: $(why)"
        result=0
        check "$service" "$new/$service" > "$work/said" 2>&1 || result=$?
        case "$result" in
            0) ;;
            127) say_once "check-$service" "the image of $service has no program to check its configuration with." ;;
            *)
                printf '%s' "$whole" > "$rejected"
                [ "$here" != "$RUN/bundle" ] && [ -d "$config/$service" ] \
                    || refuse "$service does not accept its new configuration: $(why)"
                # The last good bundle: so what is wrong is a secret of this service. It keeps what it has; the
                # others have theirs, members who left among them.
                kept="$kept $service"
                changed=$(printf '%s' "$changed" | sed "s/ $service\$//; s/ $service / /")
                rm -rf "${new:?}/$service"
                cp -Rp "$config/$service" "$new/$service"
                [ ! -f "$work/due" ] || sed -i "/ $service\$/d" "$work/due"
                ;;
        esac
    done
    # Before it is in place, so that nothing is forgotten should this be cut short.
    if [ -f "$work/due" ]; then
        while read -r what service; do : > "$due/$what-$service"; done < "$work/due"
    fi
    # File by file, each at once: the folders themselves are mounted in containers.
    (cd "$new" && find . -type d) | while read -r folder; do
        [ -d "$config/$folder" ] || mkdir -p "$config/$folder"
    done
    find "$config" -type d -exec chown "0:$OWNER" {} + -exec chmod 0750 {} +
    listed "$new" > "$work/new"
    listed "$config" > "$work/old"
    LC_ALL=C comm -23 "$work/new" "$work/old" | while read -r _ file; do
        cp -p "$new/$file" "$config/$file.new"
        mv "$config/$file.new" "$config/$file"
    done
    LC_ALL=C comm -13 "$work/new" "$work/old" | while read -r _ file; do
        [ -f "$new/$file" ] || rm -f "$config/$file"
    done
    mkdir -p "$UNITS"
    for unit in "$config"/units/*.service; do
        name=$(basename "$unit")
        [ "$(cat "$unit")" = "$(cat "$UNITS/$name" 2> /dev/null)" ] && continue
        cp "$unit" "$UNITS/$name.new"
        chmod 0644 "$UNITS/$name.new"
        mv "$UNITS/$name.new" "$UNITS/$name"
    done
    # What now runs elsewhere ends here; its data stays.
    for service in clickhouse schema; do
        case " $SERVICES " in *" $service "*) continue ;; esac
        [ -f "$UNITS/telemetry-$service.service" ] || continue
        systemctl stop "telemetry-$service.service"
        rm -f "$UNITS/telemetry-$service.service"
    done
    systemctl daemon-reload
    [ -z "$changed" ] || say "a new configuration is in place:$changed."
fi
[ -n "$kept" ] || rm -f "$rejected"
# The last good bundle says nothing about the one that was refused.
[ "$here" != "$RUN/bundle" ] || settled refused

reload() {
    case "$1" in
        # Reads everything anew; what is in its queue stays there.
        collector) docker kill --signal HUP telemetry-collector ;;
        edge) docker exec telemetry-edge caddy reload --force --config /etc/caddy/caddy.json --address unix//run/caddy/admin ;;
    esac
}

failed=0
act() {
    [ -f "$due/$1-$2" ] || return 0
    if [ "$1" = restart ]; then
        rm -f "$due/reload-$2"  # it reads everything then
        systemctl restart "telemetry-$2.service" > "$work/said" 2>&1
    else
        reload "$2" > "$work/said" 2>&1
    fi || {
        say_once "$1-$2" "$1 of $2 failed and is tried again: $(why)"
        failed=1
        return 0
    }
    settled "$1-$2"
    rm -f "$due/$1-$2"
}
# Who left is out before anything that takes its time, such as a store that does not start.
if [ ! -f "$due/restart-schema" ]; then
    for service in collector edge; do
        [ -f "$due/restart-$service" ] || act reload "$service"
    done
fi
for service in limit $SERVICES; do
    act restart "$service"
    act reload "$service"
done
# What another CA had signed is of no use to anybody.
if [ "$failed" = 0 ] && [ -z "$kept" ]; then
    for folder in "$DISK"/caddy/own-*; do
        [ ! -d "$folder" ] || [ "$folder" = "$DISK/caddy/$ca" ] || rm -rf "$folder"
    done
fi
if [ "$failed" = 0 ] && [ "$here" = "$RUN/bundle" ] \
    && [ "$(cat "$here/MANIFEST")" != "$(cat "$RUN/good/MANIFEST" 2> /dev/null)" ]; then
    rm -rf "$RUN/good" "$RUN/good.new"
    cp -R "$here" "$RUN/good.new"
    mv "$RUN/good.new" "$RUN/good"
fi
exit "$failed"
