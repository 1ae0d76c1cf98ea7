#!/bin/sh
# Rendered from the settings (infra/host/units.py); the other scripts read it.
# shellcheck disable=SC2034
SERVICES='clickhouse schema collector edge'
OWN_CA=1
CLIENT_CERTIFICATES=0
OIDC_ISSUER=''
SECRETS='keys=telemetry-cloud-keys members-1=telemetry-cloud-members-1 edge=telemetry-cloud-edge'
CLICKHOUSE_PING='http://172.30.77.3:8123/ping'
COLLECTOR_HEALTH='http://172.30.77.4:13133/'
COLLECTOR_METRICS='http://172.30.77.4:8888/metrics'
EDGE_ADDRESS='172.30.77.2:8443'
EDGE_NAME=''
QUEUE_AT_WORK=16777216
ALERT_DISK='telemetry-cloud alert disk'
ALERT_QUEUE='telemetry-cloud alert queue'
ALERT_HEALTH='telemetry-cloud alert health'

image() {
    case "$1" in
        clickhouse) echo 'clickhouse/clickhouse-server:26.8.20.9' ;;
        schema) echo 'clickhouse/clickhouse-server:26.8.20.9' ;;
        collector) echo 'otel/opentelemetry-collector-contrib:0.161.0@sha256:fd328de2552466ad78385e1b1289c3f2402b1c45f265b252aab1955b42845ac1' ;;
        edge) echo 'caddy:2.11.4-alpine' ;;
    esac
}

# check SERVICE FOLDER: the program itself reads what is in the folder of the service.
check() {
    case "$1" in
        clickhouse)
            docker run --rm --network none \
                --user '101:101' \
                --read-only \
                --cap-drop 'ALL' \
                --security-opt 'no-new-privileges' \
                --memory '1536m' \
                --memory-swap '1536m' \
                --cpus '2' \
                --tmpfs '/tmp:rw,noexec,nosuid,nodev,size=16m' \
                --tmpfs '/var/log/clickhouse-server:rw,noexec,nosuid,nodev,size=16m' \
                --env 'CLICKHOUSE_SKIP_USER_SETUP=1' \
                --volume "$2/config.d:/etc/clickhouse-server/config.d:ro" \
                --volume "$2/users.d:/etc/clickhouse-server/users.d:ro" \
                --tmpfs '/var/lib/clickhouse:rw,noexec,nosuid,nodev,size=16m,uid=101,gid=101' \
                --entrypoint clickhouse \
                'clickhouse/clickhouse-server:26.8.20.9' extract-from-config --config-file /etc/clickhouse-server/config.xml --key listen_host || return
            docker run --rm --network none \
                --user '101:101' \
                --read-only \
                --cap-drop 'ALL' \
                --security-opt 'no-new-privileges' \
                --memory '1536m' \
                --memory-swap '1536m' \
                --cpus '2' \
                --tmpfs '/tmp:rw,noexec,nosuid,nodev,size=16m' \
                --tmpfs '/var/log/clickhouse-server:rw,noexec,nosuid,nodev,size=16m' \
                --env 'CLICKHOUSE_SKIP_USER_SETUP=1' \
                --volume "$2/config.d:/etc/clickhouse-server/config.d:ro" \
                --volume "$2/users.d:/etc/clickhouse-server/users.d:ro" \
                --tmpfs '/var/lib/clickhouse:rw,noexec,nosuid,nodev,size=16m,uid=101,gid=101' \
                --entrypoint clickhouse \
                'clickhouse/clickhouse-server:26.8.20.9' extract-from-config --config-file /etc/clickhouse-server/config.xml --users --key users.telemetry_admin.profile || return
            ;;
        collector)
            docker run --rm --network none \
                --user '101:101' \
                --read-only \
                --cap-drop 'ALL' \
                --security-opt 'no-new-privileges' \
                --memory '384m' \
                --memory-swap '384m' \
                --cpus '1' \
                --env 'GOGC=400' \
                --env 'GOMEMLIMIT=240MiB' \
                --volume "$2:/etc/otelcol-contrib:ro" \
                --tmpfs '/var/lib/otelcol:rw,noexec,nosuid,nodev,size=16m,uid=101,gid=101' \
                'otel/opentelemetry-collector-contrib:0.161.0@sha256:fd328de2552466ad78385e1b1289c3f2402b1c45f265b252aab1955b42845ac1' validate --config /etc/otelcol-contrib/config.yaml || return
            ;;
        edge)
            docker run --rm --network none \
                --user '101:101' \
                --read-only \
                --cap-drop 'ALL' \
                --cap-add 'NET_BIND_SERVICE' \
                --security-opt 'no-new-privileges' \
                --memory '256m' \
                --memory-swap '256m' \
                --cpus '1' \
                --tmpfs '/run/caddy:rw,noexec,nosuid,nodev,size=16m' \
                --env 'GOMEMLIMIT=204MiB' \
                --env 'HOME=/run/caddy' \
                --volume "$2:/etc/caddy:ro" \
                --tmpfs '/data:rw,noexec,nosuid,nodev,size=16m,uid=101,gid=101' \
                --tmpfs '/var/log/caddy:rw,noexec,nosuid,nodev,size=16m,uid=101,gid=101' \
                --entrypoint caddy \
                'caddy:2.11.4-alpine' validate --config /etc/caddy/caddy.json || return
            ;;
    esac
}
