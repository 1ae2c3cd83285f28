#!/bin/sh
# Measures how the encoder follows the network, in network namespaces: the test
# camera at 6.5 Mbit/s is watched over WHEP, and pushed by WHIP, SRT and RTP, through
# a link of 8, then 2, then 8 Mbit/s, with queues of 50 and 250 ms. The goals:
# below 2 Mbit/s in 1 s, latency below 200 ms in 2 s, back at 80 % in 15 s.
#
#   sudo scripts/bench/adapt.sh [-kinds whep,whip,srt,rtp] [-buffers 50ms,250ms]
#
# Needs root, iproute2 with the tbf queueing discipline, Go and a C++ compiler.
set -eu

cd "$(dirname "$0")/../.."
work=$(mktemp -d)
go build -o "$work/lenscast" ./agent
go build -o "$work/adapt" ./scripts/bench/adapt

cleanup() {
	for ns in adapt-send adapt-mid adapt-recv; do
		ip netns del "$ns" 2>/dev/null || true
	done
	rm -rf "$work"
}
trap cleanup EXIT INT TERM

for ns in adapt-send adapt-mid adapt-recv; do
	ip netns add "$ns"
	ip -n "$ns" link set lo up
done
ip link add eth0 netns adapt-send type veth peer name send netns adapt-mid
ip link add eth0 netns adapt-recv type veth peer name recv netns adapt-mid
ip -n adapt-send addr add 10.98.1.1/24 dev eth0
ip -n adapt-mid addr add 10.98.1.2/24 dev send
ip -n adapt-mid addr add 10.98.2.1/24 dev recv
ip -n adapt-recv addr add 10.98.2.2/24 dev eth0
ip -n adapt-send link set eth0 up
ip -n adapt-mid link set send up
ip -n adapt-mid link set recv up
ip -n adapt-recv link set eth0 up
ip -n adapt-send route add default via 10.98.1.2
ip -n adapt-recv route add default via 10.98.2.1
ip netns exec adapt-mid sysctl -qw net.ipv4.ip_forward=1

"$work/adapt" -agent "$work/lenscast" "$@"
