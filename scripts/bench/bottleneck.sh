#!/bin/sh
# Sends large keyframes through a slow link, and counts those that arrive
# damaged: 200 KB once a second and 12 KB 60 times a second over 30 Mbit/s
# with a queue of 75 KB, in network namespaces. The budget is no damaged
# keyframe for lenscast; plain pion runs for comparison.
#
#   sudo scripts/bench/bottleneck.sh [SECONDS]
#
# Needs root, iproute2 with the tbf queueing discipline, and Go.
set -eu

seconds=${1:-20}
cd "$(dirname "$0")/../.."
. scripts/bench/slowlink.sh
work=$(mktemp -d)
go build -o "$work/fanout" ./scripts/bench/fanout

cleanup() {
	remove_link
	rm -rf "$work"
}
trap cleanup EXIT INT TERM

make_link
tc -n lcast-mid qdisc add dev view root tbf rate 30mbit burst 4kb limit 75000

for engine in pion lenscast; do
	mkfifo "$work/in" "$work/out"
	# Both processes end when their standard input does.
	sleep $((seconds + 10)) >"$work/in" &
	ip netns exec lcast-send "$work/fanout" -role "$engine" -host 10.99.1.1 \
		-key 200000 -picture 12000 <"$work/in" >"$work/out" &
	sender=$!
	read -r url <"$work/out"
	echo "$engine:"
	(sleep "$seconds"; echo seen) |
		ip netns exec lcast-view "$work/fanout" -role view -viewers 1 -url "$url"
	kill "$sender"
	wait "$sender" 2>/dev/null || true
	rm "$work/in" "$work/out"
done
tc -n lcast-mid -s qdisc show dev view
