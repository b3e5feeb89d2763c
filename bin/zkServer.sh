#!/bin/sh
bin=${0%/*}; [ "$bin" != "$0" ] || bin=.; [ ! -L "$0" ] || bin=$(dirname -- "$(readlink -f -- "$0")")
. "$bin/klamm-launch.sh"
export ZOOCFGDIR="${ZOOCFGDIR:-$home/conf}" ZOO_LOG_DIR="${ZOO_LOG_DIR:-$home/logs}"
exec "$klamm" zkServer "$@"
