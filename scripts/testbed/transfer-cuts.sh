#!/bin/bash
# transfer-cuts.sh [CUTS]: sends files between two network namespaces and cuts the connections, CUTS of them (default 1000)
# in turn by a reset and by silence, as a bad network does. In the end every file must be there exactly once and whole.
#
# Needs root, iproute2 and nftables. Prints a sum; exits with 1 when a promise was broken.
set -uo pipefail

here=$(dirname "$(readlink -f "$0")")
cuts=${1:-1000} parallel=50
a=lcxfer-a$$ b=lcxfer-b$$
work=$(mktemp -d)
cleanup() {
	kill ${receiver:-} ${sender:-} 2>/dev/null
	wait
	ip netns del "$a"
	ip netns del "$b"
	rm -rf "$work"
}
trap cleanup EXIT
mkdir "$work/src" "$work/in"
(cd "$here/../.." && CGO_ENABLED=0 go build -o "$work/lenscast" ./agent) || exit

ip netns add "$a" && ip netns add "$b" || exit
ip link add va netns "$a" type veth peer name vb netns "$b"
ip -n "$a" addr add 192.0.2.1/24 dev va && ip -n "$b" addr add 192.0.2.2/24 dev vb
ip -n "$a" link set va up && ip -n "$b" link set vb up && ip -n "$b" link set lo up
ip netns exec "$b" nft -f - <<END
table inet cut {
	chain in { type filter hook input priority 0; }
	chain out { type filter hook output priority 0; }
}
END
nft() { ip netns exec "$b" nft "$@"; }

# Files that are long enough, at the rate they get, to meet many cuts.
for i in $(seq "$parallel"); do
	head -c 48M /dev/urandom >"$work/src/clip-$i.mp4"
done
(cd "$work/src" && sha256sum ./*.mp4) >"$work/sums"
echo secret >"$work/token"
ip netns exec "$b" "$work/lenscast" receive -dir "$work/in" -listen 192.0.2.2:9000 -plain -token-file "$work/token" \
	-keep-free 1MiB >/dev/null 2>"$work/receiver.log" &
receiver=$!
sleep 1
(cd "$work/src" && XDG_CACHE_HOME=$work/cache exec ip netns exec "$a" "$work/lenscast" send -json -delete -plain -token-file "$work/token" \
	-agent cam -parallel "$parallel" -rate 100Mbit -retry 30m ./*.mp4 192.0.2.2:9000 >"$work/journal") &
sender=$!

open() { ip netns exec "$b" ss -Htn state established '( sport = :9000 )' | wc -l; }
count=0 resets=0 silences=0
while [ "$count" -lt "$cuts" ] && kill -0 "$sender" 2>/dev/null; do
	sleep "1.$((RANDOM % 1000))"
	now=$(open)
	if [ $((RANDOM % 5)) != 0 ]; then
		nft add rule inet cut in tcp dport 9000 reject with tcp reset
		nft add rule inet cut out tcp sport 9000 drop
		sleep 0.5
		resets=$((resets + now))
	else
		nft add rule inet cut in tcp dport 9000 drop
		nft add rule inet cut out tcp sport 9000 drop
		sleep 65 # longer than either side waits
		silences=$((silences + now))
	fi
	nft flush chain inet cut in
	nft flush chain inet cut out
	count=$((resets + silences))
done
wait "$sender"
status=$?
wrong=$(cut -d' ' -f1 "$work/sums" | sort | comm -3 - <(cd "$work/in" && find . -path ./.lenscast -prune -o -type f -print0 |
	xargs -0 sha256sum | cut -d' ' -f1 | sort) | wc -l)
echo "$resets connections reset, $silences silenced: $parallel files, $wrong missing, damaged or there twice; the sender ended with $status;" \
	"$(grep -c 'resumed=[1-9]' "$work/receiver.log") went on from a checkpoint"
[ "$wrong" = 0 ] && [ "$status" = 0 ]
