#!/bin/sh
# Calls `telemetry tick` every so many minutes, for as long as supervisord lives.
# Usage: tick.sh TELEMETRY MINUTES
set -u
minute=0
while kill -0 "$PPID" 2>/dev/null; do
    sleep 60
    minute=$((minute + 1))
    if [ "$minute" -ge "$2" ]; then
        minute=0
        "$1" tick
    fi
done
