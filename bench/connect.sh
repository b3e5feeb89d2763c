#!/usr/bin/env bash
# File to topic to file through a Connect worker that is alone: lines per CPU second of the worker, its memory, and the time
# from its start to the first record. Klamm's worker, and Apache Kafka's when KAFKA names its folder, against one broker.
#
#   bench/connect.sh [LINES]        (default 10,000,000 lines of 100 bytes)
#
# Uses target/release/klamm (or KLAMM_BINARY) and ports 17092, 17083 and 17084.
set -euo pipefail

lines=${1:-10000000}
home=$(cd "$(dirname "$0")/.." && pwd)
klamm=${KLAMM_BINARY:-$home/target/release/klamm}
work=$(mktemp -d)
pids=()
cleanup() { for p in "${pids[@]}"; do kill -9 "$p" 2>/dev/null || true; done; rm -rf "$work"; }
trap cleanup EXIT

# 99 letters and a line feed, each line another.
awk -v n="$lines" 'BEGIN { pad = sprintf("%089d", 0); for (i = 0; i < n; i++) printf "%010d%s\n", i, pad }' >"$work/in.txt"

cat >"$work/server.properties" <<EOF
listeners=PLAINTEXT://127.0.0.1:17092
log.dirs=$work/data
offsets.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
EOF
"$klamm" kafka-server-start "$work/server.properties" >"$work/broker.out" 2>&1 &
pids+=($!)
until (echo >/dev/tcp/127.0.0.1/17092) 2>/dev/null; do sleep 0.05; done

# User and system time of a process in ms.
cpu_ms() { awk -v hz="$(getconf CLK_TCK)" '{ print int(($14 + $15) * 1000 / hz) }' "/proc/$1/stat"; }

# run NAME PORT COMMAND...
run() {
    local name=$1 port=$2
    shift 2
    mkdir "$work/$name"
    cat >"$work/$name/worker.properties" <<EOF
bootstrap.servers=127.0.0.1:17092
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
offset.storage.file.filename=$work/$name/offsets
offset.flush.interval.ms=10000
listeners=http://127.0.0.1:$port
plugin.discovery=service_load
EOF
    printf 'name=source-%s\nconnector.class=FileStreamSource\nfile=%s\ntopic=%s\n' "$name" "$work/in.txt" "$name" >"$work/$name/source.properties"
    printf 'name=sink-%s\nconnector.class=FileStreamSink\nfile=%s\ntopics=%s\n' "$name" "$work/$name/out.txt" "$name" >"$work/$name/sink.properties"
    "$klamm" kafka-topics --bootstrap-server 127.0.0.1:17092 --create --topic "$name" --partitions 1 >/dev/null
    local begun first ended
    begun=$(date +%s%N)
    "$@" "$work/$name/worker.properties" "$work/$name/source.properties" "$work/$name/sink.properties" >"$work/$name/out.log" 2>&1 &
    local pid=$!
    pids+=("$pid")
    until [ -s "$work/$name/out.txt" ]; do kill -0 "$pid" || { tail "$work/$name/out.log"; exit 1; }; sleep 0.01; done
    first=$(date +%s%N)
    until [ "$(stat -c %s "$work/$name/out.txt")" -ge "$((lines * 100))" ]; do kill -0 "$pid"; sleep 0.1; done
    ended=$(date +%s%N)
    local cpu rss
    cpu=$(cpu_ms "$pid")
    rss=$(awk '/VmHWM/ { print int($2 / 1024) }' "/proc/$pid/status")
    kill "$pid"; wait "$pid" || true
    cmp -s "$work/in.txt" "$work/$name/out.txt" || { echo "$name: the lines are not the same"; exit 1; }
    # The disk need not hold both outputs.
    rm "$work/$name/out.txt"
    echo "$name: $lines lines in $(((ended - begun) / 1000000)) ms, first after $(((first - begun) / 1000000)) ms, CPU $cpu ms," \
        "$((lines * 1000 / cpu)) lines per CPU second, ${rss} MiB at most"
}

run klamm 17083 "$klamm" connect-standalone
if [ -n "${KAFKA:-}" ]; then
    run kafka 17084 java -Xms256m -Xmx2g -cp "$KAFKA/libs/*" org.apache.kafka.connect.cli.ConnectStandalone
fi
