#!/bin/sh
bin=${0%/*}; [ "$bin" != "$0" ] || bin=.; [ ! -L "$0" ] || bin=$(dirname -- "$(readlink -f -- "$0")")
. "$bin/klamm-launch.sh"
exec "$klamm" kafka-replica-verification "$@"
