#!/bin/sh
# What a bulk transfer does to the live picture beside it on a slow link: the
# delay and loss of live packets (4 Mbit/s of RTP in bursts, 30 a second) with
# no transfer, with lenscast's, which yields, and with two controls that do not:
# the same transfer left to TCP (cubic), and one held at a fixed rate. The link
# has 20 or 8 Mbit/s with 250 ms of buffer, or falls from 20 to 5 in mid-run.
#
#   sudo scripts/bench/offload.sh
#
# The goal is, for each link: 99 % of the live packets at most 15 ms later than
# with no transfer, none lost, and 60 % of what they leave used.
#
# ROUNDS (3) and SECONDS_EACH (40; twice that where the link falls) make it
# shorter, LINKS ("20 8 20-5") and BULKS ("none lenscast plain 12000000 3000000")
# select. BURST (4kb) is what the link passes at once; KEEP=DIR keeps what was
# measured. A machine that is busy with something else delays packets itself,
# most visibly in the line "none".
#
# Needs root, iproute2 with the tbf queueing discipline, and Go.
set -eu

rounds=${ROUNDS:-3} seconds=${SECONDS_EACH:-40} burst=${BURST:-4kb}
links=${LINKS:-20 8 20-5} bulks=${BULKS:-none lenscast plain 12000000 3000000}
cd "$(dirname "$0")/../.."
. scripts/bench/slowlink.sh
work=$(mktemp -d)
results=${KEEP:-$work/results}
mkdir -p "$results"
export CGO_ENABLED=0
go build -o "$work/yield" ./scripts/bench/yield
go build -o "$work/lenscast" ./agent
echo bench-token >"$work/token"
pids=

cleanup() {
	# shellcheck disable=SC2086 # a list
	[ -z "$pids" ] || kill $pids 2>/dev/null || true
	remove_link
	rm -rf "$work"
}
trap cleanup EXIT INT TERM

make_link

run() { # LINK BULK ROUND
	length=$seconds at=0
	case $1 in *-*) length=$((2 * seconds)) at=$seconds ;; esac
	tc -n lcast-mid qdisc replace dev view root tbf rate "${1%-*}mbit" burst "$burst" latency 250ms
	rm -rf "$work/received"
	mkdir "$work/received"
	ip netns exec lcast-view "$work/lenscast" receive -dir "$work/received" -listen 10.99.2.2:9000 -plain \
		-token-file "$work/token" -keep-free 1MiB -log-level error >/dev/null &
	receiver=$!
	ip netns exec lcast-view "$work/yield" watch -listen 10.99.2.2:5004 -for "${length}s" -at "${at}s" \
		-out "$results/$1.$2.$3.seen.json" \
		tc -n lcast-mid qdisc change dev view root tbf rate "${1#*-}mbit" burst "$burst" latency 250ms &
	watcher=$!
	pids="$receiver $watcher"
	sleep 1
	ip netns exec lcast-send "$work/yield" send -live "rtp://10.99.2.2:5004?pkt_size=1200" \
		-receiver 10.99.2.2:9000 -token-file "$work/token" -bulk "$2" -out "$results/$1.$2.$3.sent.json" &
	sender=$!
	pids="$pids $sender"
	wait "$watcher"
	kill "$sender" "$receiver"
	wait "$sender" "$receiver" || true
	pids=
	tc -n lcast-mid qdisc del dev view root
}

for round in $(seq "$rounds"); do
	for link in $links; do
		for bulk in $bulks; do
			run "$link" "$bulk" "$round"
		done
	done
done
"$work/yield" report "$results"
