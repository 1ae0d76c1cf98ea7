#!/bin/sh
# An event listener of supervisord: starts a program again that supervisord has given up.
#
# supervisord waits a second longer after each start that failed, without a bound, unless it gives
# up after a number of them. So it does, and this begins anew: a program whose disk was freed, or
# whose neighbour is back, is never waited for longer than that number of seconds.
# Usage: again.sh SUPERVISORCTL CONFIGURATION
set -u
while printf 'READY\n' && read -r header; do
    length=${header##*len:}
    length=${length%% *}
    # Byte by byte, because what follows belongs to the next event.
    body=$(dd bs=1 count="$length" 2>/dev/null)
    name=${body#processname:}
    name=${name%% *}
    "$1" -c "$2" start "$name" >&2 </dev/null
    printf 'RESULT 2\nOK'
done
