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
work=$(mktemp -d)
go build -o "$work/fanout" ./scripts/bench/fanout

cleanup() {
	for ns in lcast-send lcast-mid lcast-view; do
		ip netns del "$ns" 2>/dev/null || true
	done
	rm -rf "$work"
}
trap cleanup EXIT INT TERM

for ns in lcast-send lcast-mid lcast-view; do
	ip netns add "$ns"
	ip -n "$ns" link set lo up
done
ip link add eth0 netns lcast-send type veth peer name send netns lcast-mid
ip link add eth0 netns lcast-view type veth peer name view netns lcast-mid
ip -n lcast-send addr add 10.99.1.1/24 dev eth0
ip -n lcast-mid addr add 10.99.1.2/24 dev send
ip -n lcast-mid addr add 10.99.2.1/24 dev view
ip -n lcast-view addr add 10.99.2.2/24 dev eth0
ip -n lcast-send link set eth0 up
ip -n lcast-mid link set send up
ip -n lcast-mid link set view up
ip -n lcast-view link set eth0 up
ip -n lcast-send route add default via 10.99.1.2
ip -n lcast-view route add default via 10.99.2.1
ip netns exec lcast-mid sysctl -qw net.ipv4.ip_forward=1
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
