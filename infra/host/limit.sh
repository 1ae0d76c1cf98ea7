#!/bin/sh
# limit.sh HTTPS_PORT RATE BURST QUERY_PORT: how often an address may connect anew to the edge, that ClickHouse's
# own port is for Google's tunnel alone, and that no container asks the metadata server for the machine's token. Can
# be run again.
#
# Packets to containers pass DOCKER-USER when their address is already that of the container, so a rule
# looks at the port that they were sent to first.
set -eu
port=$1 rate=$2 burst=$3 query=$4
chain=TELEMETRY

fail() {
    printf 'telemetry: there is NO limit on new connections: %s\n' "$*" >&2
    exit 1
}

iptables -w -N "$chain" 2> /dev/null || iptables -w -F "$chain" || fail "the chain $chain cannot be made."
# It answers for names too, and those are needed. With the token goes every secret of the machine.
iptables -w -A "$chain" -s 172.30.77.0/24 -d 169.254.169.254 -p tcp ! --dport 53 -j DROP \
    || fail "the metadata server cannot be shut to containers."
for range in 172.30.77.0/24 35.235.240.0/20; do
    iptables -w -A "$chain" -p tcp -m conntrack --ctorigdstport "$query" -s "$range" -j RETURN \
        || fail "iptables does not know conntrack here."
done
iptables -w -A "$chain" -p tcp -m conntrack --ctstate NEW --ctorigdstport "$query" -j DROP \
    || fail "iptables does not know conntrack here."
iptables -w -C DOCKER-USER -j "$chain" 2> /dev/null || iptables -w -I DOCKER-USER -j "$chain" \
    || fail "there is no chain DOCKER-USER: does Docker run?"
# Last: where the kernel does not know it, all else holds.
iptables -w -A "$chain" -p tcp -m conntrack --ctstate NEW --ctorigdstport "$port" \
    -m hashlimit --hashlimit-name telemetry --hashlimit-mode srcip --hashlimit-above "$rate/second" \
    --hashlimit-burst "$burst" --hashlimit-htable-max 100000 --hashlimit-htable-expire 60000 -j DROP \
    || fail "iptables does not know hashlimit or conntrack here."
