#!/bin/sh
# Says in one message what this machine lacks before anything is made. POSIX sh, because Python may
# be what is missing.
set -u

python=${PYTHON:-python3}
state=${TELEMETRY_HOME:-${XDG_STATE_HOME:-$HOME/.local/state}/telemetry}
missing=''
lacks() { missing="$missing
  - $1"; }

# A program that the member named in settings.yaml makes ours unnecessary.
names() { grep -Eqs "^[[:space:]]+$1:[[:space:]]*[^[:space:]]" "$state/settings.yaml"; }

if ! command -v "$python" > /dev/null 2>&1; then
    lacks "Python 3.11 or newer (https://www.python.org/downloads, or your package manager: python3)"
elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    lacks "Python 3.11 or newer ($python is $("$python" -V 2>&1); name another with \`make up PYTHON=python3.12\`)"
elif ! "$python" -c 'import venv, ensurepip' > /dev/null 2>&1; then
    lacks "Python's venv module (Debian and Ubuntu: apt install python3-venv)"
fi
if ! command -v otelcol-contrib > /dev/null 2>&1 && ! names collector \
    && [ ! -x build/otelcol-telemetry ]; then
    go='Go 1.26 or newer, which builds the collector (https://go.dev/dl, or your package manager: golang)'
    if ! command -v go > /dev/null 2>&1; then
        lacks "$go"
    elif go version 2> /dev/null | grep -Eq ' go1\.(1?[0-9]|20)([^0-9]|$)'; then
        # From 1.21 on, Go fetches the version that the sources ask for by itself.
        lacks "$go; here is $(go version)"
    fi
fi
if ! command -v clickhouse > /dev/null 2>&1 && ! names clickhouse \
    && [ ! -d build/chdb/node_modules ] && ! command -v npm > /dev/null 2>&1; then
    lacks "npm, which fetches ClickHouse (https://nodejs.org, or your package manager: npm)"
fi
[ -z "$missing" ] && exit 0
echo "Missing on this machine:$missing" >&2
echo "Install that and repeat the command." >&2
exit 1
