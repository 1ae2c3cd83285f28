#!/bin/bash
# offload-kill.sh [KILLS]: kills agent and receiver with SIGKILL, KILLS times (default 100) at random moments, while the
# agent records two cameras and sends every recording (TLS, token). For the first half of the kills recordings stay, to be
# compared; then they are deleted once they are confirmed. In the end every recording that was ever finished must be at the
# receiver, exactly once and whole, and none here.
#
# Prints a sum; exits with 1 when a promise was broken.
set -uo pipefail

here=$(dirname "$(readlink -f "$0")")
kills=${1:-100} port=${PORT:-9320}
work=$(mktemp -d)
trap '{ kill -9 ${receiver:-} ${agent:-} ${keeper:-} ${presser:-}; wait; } 2>/dev/null; rm -rf "$work"' EXIT
mkdir "$work/in" "$work/rec" "$work/kept"
(cd "$here/../.." && CGO_ENABLED=0 go build -o "$work/lenscast" ./agent) || exit
(umask 077 && head -c 24 /dev/urandom | base64 >"$work/token")

receive() {
	"$work/lenscast" receive -dir "$work/in" -listen "127.0.0.1:$port" -token-file "$work/token" -keep-free 1MiB \
		-log-format json >/dev/null 2>>"$work/receiver.log" &
	receiver=$!
}
record() {
	rm -f "$work/rec/.lenscast.sock"
	"$work/lenscast" run -config "$work/lenscast.toml" -log-format json 2>>"$work/agent.log" &
	agent=$!
	echo "$agent" >"$work/agent.pid"
}
# button sends a signal to the agent, once that listens.
button() { [ -S "$work/rec/.lenscast.sock" ] && kill "$1" "$(<"$work/agent.pid")"; }

receive
until pin=$(grep -o 'sha256//[^"]*' "$work/receiver.log"); do sleep 0.1; done
cat >"$work/lenscast.toml" <<END
[viewer]
listen = "localhost:0"
[webrtc]
listen = "localhost:0"
[recording]
dir = "rec"
mode = "manual"
max_loss = "500ms"
keep_free = "16MiB"
[offload]
server = "127.0.0.1:$port"
token_file = "token"
pin = "$pin"
agent = "cam"
after = "keep"
max_rate = "1Mbit"
[[camera]]
name = "front"
source = "test"
[[camera]]
name = "back"
source = "test"
END
record

# A second name for every finished recording, so that it can be compared when it is deleted.
(while sleep 0.05; do
	for f in "$work"/rec/*/*/*.mp4; do ln "$f" "$work/kept/" 2>/dev/null; done
done) 2>/dev/null &
keeper=$!
# Recordings of two seconds, as if somebody pressed a button.
(while sleep 0.2; do
	button -USR1
	sleep 1.8
	button -USR2
done) 2>/dev/null &
presser=$!

for n in $(seq "$kills"); do
	if [ "$n" = $((kills / 2 + 1)) ]; then
		sed -i 's/after = "keep"/after = "delete"/' "$work/lenscast.toml"
		until button -HUP; do sleep 0.1; done
	fi
	sleep "$((RANDOM % 3)).$((RANDOM % 1000))"
	case $((RANDOM % 3)) in
	0)
		kill -9 "$receiver"
		wait "$receiver" 2>/dev/null
		receive
		;;
	1)
		kill -9 "$agent"
		wait "$agent" 2>/dev/null
		record
		;;
	*)
		kill -9 "$receiver" "$agent"
		wait "$receiver" "$agent" 2>/dev/null
		receive
		record
		;;
	esac
done

kill "$presser" 2>/dev/null
for _ in $(seq 600); do
	sleep 0.2
	button -USR2
	[ -z "$(find "$work/rec" -name '*.part' -o -name '*.mp4')" ] && break
done
kill "$keeper" 2>/dev/null
kill "$agent" && wait "$agent" 2>/dev/null

wrong=0
complain() {
	echo "$*" >&2
	wrong=$((wrong + 1))
}
# What the agent called finished, and what had its name, must be there once, whole.
arrived=$(cd "$work/in" && find . -path ./.lenscast -prune -o -type f -printf '%f\n')
finished=$(grep -o '"recording finished".*"recording":"[^"]*"' "$work/agent.log" | sed 's/.*"recording":"//; s/"$//; s/.*\///; s/$/.mp4/')
for name in $(sort -u <<<"$finished
$(ls "$work/kept")"); do
	n=$(grep -cxF "$name" <<<"$arrived")
	[ "$n" = 1 ] || complain "$name is at the receiver $n times"
	if [ -e "$work/kept/$name" ] && ! cmp -s "$work/kept/$name" "$(find "$work/in" -name "$name" -print -quit)"; then
		complain "$name is not what was recorded"
	fi
done
[ "$(sort <<<"$arrived" | wc -l)" = "$(sort -u <<<"$arrived" | wc -l)" ] || complain "something is there twice"
twice=$(cd "$work/in" && find . -name '*-2.mp4' | wc -l)
[ "$twice" = 0 ] || complain "$twice recordings came under a second name"
left=$(find "$work/rec" -name '*.mp4' | wc -l)
[ "$left" = 0 ] || complain "$left recordings were not deleted, though confirmed"
resumed=$(grep -c '"resumed":[1-9]' "$work/receiver.log")
echo "$kills kills: $(sort -u <<<"$finished" | wc -l) recordings finished, $(wc -l <<<"$arrived") arrived, $(ls "$work/kept" | wc -l) of them" \
	"compared; $resumed went on from a checkpoint; $wrong promises broken"
[ "$wrong" = 0 ] || { cp "$work"/*.log /tmp/; exit 1; }
