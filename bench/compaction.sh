#!/usr/bin/env bash
# What compacting a log costs: MB of log per second of the broker's CPU time.
#
#   bench/compaction.sh make DIR KAFKA MB    a log of MB megabytes, 10 % of its records live, in DIR
#   bench/compaction.sh klamm DIR            starts Klamm on a copy of it, until cleaner-offset-checkpoint is there
#   bench/compaction.sh kafka DIR KAFKA      the same with the Apache Kafka 4.3 in the folder KAFKA
#
# Reads the process's CPU from /proc, so that all of its start is in the figure, for both.
set -euo pipefail
cd "$(dirname "$0")/.."
port=${PORT:-14555}
klamm=${KLAMM_BINARY:-target/release/klamm}
what=${1:?make, klamm or kafka}
dir=${2:?a folder}

settings() {
    cat <<END
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:$((port + 1))
log.dirs=$1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
log.segment.bytes=134217728
log.cleaner.min.cleanable.ratio=0.01
log.cleaner.backoff.ms=200
log.initial.task.delay.ms=0
log.cleaner.enable=$2
END
}

cpu_seconds() {
    awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) / hz }' "/proc/$1/stat"
}

case $what in
make)
    mb=${4:?megabytes}
    rm -rf "$dir" && mkdir -p "$dir"
    settings "$dir/data" false > "$dir/properties"
    # Both can open what Apache Kafka formats.
    "${3:?the folder of Apache Kafka}/bin/kafka-storage.sh" format --cluster-id AAAAAAAAAAAAAAAAAAAAAQ \
        --config "$dir/properties" > "$dir/format" 2>&1
    "$klamm" kafka-server-start "$dir/properties" > "$dir/output" 2>&1 &
    broker=$!
    trap 'kill $broker; wait $broker' EXIT
    until "$klamm" kafka-topics --bootstrap-server "127.0.0.1:$port" --create --topic log --partitions 1 \
        --config cleanup.policy=compact > "$dir/create" 2>&1; do
        kill -0 $broker || exit 1
        sleep 0.2
    done
    # Values of 200 digits and keys of 16, in random order; every key about ten times.
    records=$((mb * 1000000 / 228))
    awk -v records=$records 'BEGIN {
        srand(7); for (at = 0; at < 50; at++) value = value "0123"
        for (at = 0; at < records; at++) printf "%016d:%012d%s\n", int(rand() * records / 10), at, substr(value, 13)
    }' | "$klamm" kafka-console-producer --bootstrap-server "127.0.0.1:$port" --topic log \
        --reader-property parse.key=true --reader-property key.separator=:
    ;;
klamm | kafka)
    run=$dir.run
    rm -rf "$run" && cp -r "$dir" "$run"
    settings "$run/data" true > "$run/properties"
    # The same work for both: what is already compacted must not be left over from a run before.
    rm -f "$run/data/cleaner-offset-checkpoint"
    before=$(du -sm "$run/data/log-0" | cut -f1)
    sync
    if [ "$what" = klamm ]; then
        "$klamm" kafka-server-start "$run/properties" > "$run/output" 2>&1 &
    else
        KAFKA_HEAP_OPTS="-Xmx1G -Xms1G" "${3:?the folder of Apache Kafka}/bin/kafka-server-start.sh" "$run/properties" \
            > "$run/output" 2>&1 &
    fi
    broker=$!
    until grep -q '^log 0 ' "$run/data/cleaner-offset-checkpoint" 2> /dev/null; do
        kill -0 $broker || exit 1
        sleep 0.05
    done
    cpu=$(cpu_seconds $broker)
    peak=$(awk '/VmHWM/ { print int($2 / 1024) }' "/proc/$broker/status")
    kill $broker
    wait $broker || true
    rm -f "$run/data/log-0/"*.deleted
    after=$(du -sm "$run/data/log-0" | cut -f1)
    awk -v what="$what" -v before="$before" -v after="$after" -v cpu="$cpu" -v peak="$peak" 'BEGIN {
        printf "%s: %d MB to %d MB, %.2f s of CPU, %.0f MB/s of CPU, %d MiB resident at most\n",
            what, before, after, cpu, before / cpu, peak
    }'
    ;;
esac
