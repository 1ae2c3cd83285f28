#!/bin/bash
# offload-network.sh: pulls and plugs the network under an agent that may send over one interface only, in namespaces, and
# prints how long it takes until it says so and until it sends again. Needs root.
#
# Exits with 1 when a recording does not arrive, or sending again takes more than 5 s.
set -uo pipefail

here=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d) camera=offl-camera-$$ server=offl-server-$$
trap '{ kill -9 ${receiver:-} ${agent:-}; wait; ip netns del $camera; ip netns del $server; } 2>/dev/null; rm -rf "$work"' EXIT
mkdir "$work/in"
(cd "$here/../.." && CGO_ENABLED=0 go build -o "$work/lenscast" ./agent) || exit
ip netns add "$camera" && ip netns add "$server" || exit
ip link add wlan0 netns "$camera" type veth peer name eth0 netns "$server" || exit
ip -n "$camera" link set lo up
ip -n "$server" addr add 198.18.79.1/24 dev eth0
ip -n "$server" link set eth0 up
(umask 077 && head -c 24 /dev/urandom | base64 >"$work/token")

ip netns exec "$server" "$work/lenscast" receive -dir "$work/in" -listen 198.18.79.1:9000 -token-file "$work/token" \
	-keep-free 1MiB >/dev/null 2>"$work/receiver.log" &
receiver=$!
until pin=$(grep -o 'sha256//[^" ]*' "$work/receiver.log"); do sleep 0.1; done
cat >"$work/lenscast.toml" <<END
[viewer]
listen = "localhost:0"
[webrtc]
listen = "localhost:0"
[recording]
dir = "rec"
mode = "manual"
keep_free = "16MiB"
[offload]
server = "198.18.79.1:9000"
interface = "wlan0"
token_file = "token"
pin = "$pin"
agent = "cam"
max_rate = "64kbit"
[[camera]]
name = "hero"
source = "test"
END
ip netns exec "$camera" "$work/lenscast" run -config "$work/lenscast.toml" 2>"$work/agent.log" &
agent=$!

queue() { "$work/lenscast" queue -config "$work/lenscast.toml" -json; }
# await WHAT PATTERN: waits until the queue matches and prints how long that took.
await() {
	local began=$EPOCHREALTIME
	for _ in $(seq 600); do
		if queue | tr -d '\n' | grep -qE "$2"; then
			took=$(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $began }")
			echo "$1: ${took} s"
			return
		fi
		sleep 0.1
	done
	echo "$1: never" >&2
	queue >&2
	cat "$work/agent.log" >&2
	exit 1
}
soon() { awk "BEGIN { exit !($took <= 5) }" || { echo "that is too long" >&2; exit 1; }; }
plug() {
	ip -n "$camera" addr add 198.18.79.2/24 dev wlan0
	ip -n "$camera" link set wlan0 up
}

sleep 2
kill -USR1 "$agent"
sleep 4
kill -USR2 "$agent"
await "the network is not there, and it says so" '"reason": "wlan0 is not connected"'
plug
await "plugged in, it sends" '"state": "sending"' && soon
sleep 3
ip -n "$camera" link set wlan0 down
await "switched off, it says so" '"reason": "wlan0 is not connected"' && soon
sleep 40
ip -n "$camera" addr flush dev wlan0
plug
await "switched on, it sends" '"state": "sending"' && soon
sleep 3
ip netns exec "$server" nft 'add table inet wall; add chain inet wall in { type filter hook input priority 0; policy drop; }'
await "out of reach, it says so" '"state": "retrying".*has said nothing for 15s'
sleep 20
ip netns exec "$server" nft delete table inet wall
ip -n "$camera" addr add 198.18.79.3/24 dev wlan0 # as a new lease would
await "in reach again, it sends" '"state": "sending"' && soon
await "all is sent" '"queue": \[\]'
arrived=$(find "$work/in/cam" -name '*.mp4' | wc -l)
echo "$arrived arrived"
[ "$arrived" = 1 ] && cmp "$(find "$work/rec" -name '*.mp4')" "$(find "$work/in/cam" -name '*.mp4')"
