#!/bin/sh
bin=${0%/*}; [ "$bin" != "$0" ] || bin=.; [ ! -L "$0" ] || bin=$(dirname -- "$(readlink -f -- "$0")")
. "$bin/klamm-launch.sh"
if [ "${1:-}" = -daemon ]; then
    shift
    logs=${LOG_DIR:-$home/logs}
    mkdir -p "$logs" || exit 1
    nohup "$klamm" zookeeper-server-start "$@" >"$logs/zookeeper.out" 2>&1 </dev/null &
    exit 0
fi
exec "$klamm" zookeeper-server-start "$@"
