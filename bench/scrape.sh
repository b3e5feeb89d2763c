#!/usr/bin/env bash
# What a scrape of the metrics page costs, with many partitions and a group that has committed an offset in each.
#
#   bench/scrape.sh [PARTITIONS] [ROUNDS]      10000 partitions, 20 scrapes
#
# Prints bytes and lines of the page and, of the scrapes, the median and the slowest in milliseconds, as curl saw them.
# Only the release build means anything.
set -euo pipefail
cd "$(dirname "$0")/.."
partitions=${1:-10000}
rounds=${2:-20}
port=${PORT:-14565}
klamm=${KLAMM_BINARY:-target/release/klamm}
dir=$(mktemp -d)
"$klamm" kafka-server-start --override "listeners=PLAINTEXT://127.0.0.1:$port" --override "log.dirs=$dir/data" \
    --override "klamm.metrics.listener=127.0.0.1:$((port + 1))" > "$dir/output" 2>&1 &
broker=$!
trap 'kill $broker; wait $broker; rm -rf "$dir"' EXIT
server=(--bootstrap-server "127.0.0.1:$port")
until "$klamm" kafka-topics "${server[@]}" --list > "$dir/list" 2>&1; do
    kill -0 $broker || { cat "$dir/output"; exit 1; }
    sleep 0.2
done
per_topic=$((partitions < 1000 ? partitions : 1000))
for ((at = 0; at < partitions / per_topic; at++)); do
    "$klamm" kafka-topics "${server[@]}" --create --topic "scraped-$at" --partitions "$per_topic" > "$dir/create"
    echo record | "$klamm" kafka-console-producer "${server[@]}" --topic "scraped-$at"
    "$klamm" kafka-consumer-groups "${server[@]}" --group readers --topic "scraped-$at" --reset-offsets --to-earliest \
        --execute > "$dir/reset"
done
url=http://127.0.0.1:$((port + 1))/metrics
curl -s "$url" > "$dir/page"
echo "$(grep -c '^kafka_log_log_size' "$dir/page") partitions, $(wc -l < "$dir/page") lines, $(wc -c < "$dir/page") bytes"
for ((at = 0; at < rounds; at++)); do
    curl -s -o "$dir/page" -w '%{time_total}\n' "$url"
done | sort -n | awk '{ ms[NR] = $1 * 1000 } END { printf "median %.1f ms, slowest %.1f ms\n", ms[int((NR + 1) / 2)], ms[NR] }'
