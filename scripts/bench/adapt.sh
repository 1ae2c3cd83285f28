#!/bin/sh
# Measures how the encoder follows the network, in network namespaces: the test
# camera at 6.5 Mbit/s is watched over WHEP, and pushed by WHIP, SRT and RTP, through
# a link of 8, then 2, then 8 Mbit/s, with queues of 50 and 250 ms. The goals:
# below 2 Mbit/s in 1 s, latency below 200 ms in 2 s, back at 80 % in 15 s.
#
#   sudo scripts/bench/adapt.sh [-kinds whep,whip,srt,rtp] [-buffers 50ms,250ms] [-every 1s]
#
# Needs root, iproute2 with the tbf queueing discipline, Go and a C++ compiler.
set -eu

cd "$(dirname "$0")/../.."
. scripts/bench/slowlink.sh
work=$(mktemp -d)
go build -o "$work/lenscast" ./agent
go build -o "$work/adapt" ./scripts/bench/adapt

cleanup() {
	remove_link
	rm -rf "$work"
}
trap cleanup EXIT INT TERM
make_link

"$work/adapt" -agent "$work/lenscast" "$@"
