#!/bin/sh
bin=${0%/*}; [ "$bin" != "$0" ] || bin=.; [ ! -L "$0" ] || bin=$(dirname -- "$(readlink -f -- "$0")")
. "$bin/klamm-launch.sh"
if [ "${1:-}" = -daemon ]; then
    shift
    logs=${LOG_DIR:-$home/logs}
    mkdir -p "$logs" || exit 1
    # What is logged goes into a file that is rotated; what is left for this one is small.
    KLAMM_LOG_FILE=${KLAMM_LOG_FILE:-$logs/server.log} \
        nohup "$klamm" kafka-server-start "$@" >"$logs/kafkaServer.out" 2>&1 </dev/null &
    exit 0
fi
exec "$klamm" kafka-server-start "$@"
