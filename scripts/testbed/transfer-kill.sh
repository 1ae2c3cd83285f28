#!/bin/bash
# transfer-kill.sh [KILLS]: kills sender and receiver with SIGKILL, KILLS times (default 200) at random moments, while
# files are sent and deleted once confirmed. In the end every file must be there exactly once and whole.
#
# Prints a sum; exits with 1 when a promise was broken.
set -uo pipefail

here=$(dirname "$(readlink -f "$0")")
kills=${1:-200} port=${PORT:-9310}
work=$(mktemp -d)
trap '{ kill -9 ${receiver:-} ${sender:-}; wait; } 2>/dev/null; rm -rf "$work"' EXIT
mkdir "$work/src" "$work/in"
(cd "$here/../.." && CGO_ENABLED=0 go build -o "$work/lenscast" ./agent) || exit

fed=0
feed() {
	local i
	for i in $(seq 20); do
		fed=$((fed + 1))
		# Every other one is small: those go out before the receiver has answered.
		head -c $((RANDOM * (fed % 2 ? 400 : 4))) /dev/urandom >"$work/src/clip-$fed.mp4"
		(cd "$work/src" && sha256sum "clip-$fed.mp4") >>"$work/sums"
	done
}
receive() {
	"$work/lenscast" receive -dir "$work/in" -listen "127.0.0.1:$port" -keep-free 1MiB >/dev/null 2>>"$work/receiver.log" &
	receiver=$!
}
# send sends what is there, at a rate at which kills meet it at work.
send() {
	(cd "$work/src" && XDG_CACHE_HOME=$work/cache exec "$work/lenscast" send -json -delete -agent cam -parallel 3 -rate 200Mbit \
		-retry "${1:-20s}" ./*.mp4 "127.0.0.1:$port" >>"$work/journal") &
	sender=$!
}

feed
receive
send
for _ in $(seq "$kills"); do
	sleep "0.$((RANDOM % 1000))"
	[ "$(ls "$work/src" | wc -l)" -lt 5 ] && feed
	if [ $((RANDOM % 2)) = 0 ]; then
		kill -9 "$receiver"
		wait "$receiver" 2>/dev/null
		receive
	else
		kill -9 "$sender" 2>/dev/null
		wait "$sender" 2>/dev/null
	fi
	kill -0 "$sender" 2>/dev/null || send
done
wait "$sender" 2>/dev/null
while [ -n "$(ls "$work/src")" ]; do
	send 60s
	wait "$sender" || { tail -3 "$work/journal"; break; }
done
wrong=$(cut -d' ' -f1 "$work/sums" | sort | comm -3 - <(cd "$work/in" && find . -path ./.lenscast -prune -o -type f -print0 |
	xargs -0 sha256sum | cut -d' ' -f1 | sort) | wc -l)
resumed=$(grep -c 'resumed=[1-9]' "$work/receiver.log")
echo "$kills kills: $fed files, $wrong missing, damaged or there twice; $resumed went on from a checkpoint"
[ "$wrong" = 0 ]
