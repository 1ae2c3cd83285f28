#!/usr/bin/env bash
# What the agent's memory consists of, and what it costs of the processor: one
# camera of 1080p30 at 8 Mbit/s (MPEG-TS from ffmpeg), one WebRTC viewer, and
# recording. The budget is 25 MB of resident memory, the binary's included.
#
#   scripts/bench/memory.sh [seconds]       # 60; after 20 s to warm up
#
# anon is what the program has allocated: heap, stacks, the runtime. file is the
# part of the binary that was touched; it is in the page cache, which takes it
# back when memory is short. With GODEBUG=gctrace=1 the last collections are
# shown as well. The agent chooses how often it collects by the machine's memory;
# GOGC=25 is what it takes on boards of up to 1 GB.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}

dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$dir"' EXIT
env -u GOGC -u GODEBUG CGO_ENABLED=0 go build -trimpath -tags nos3 -ldflags "-s -w" -o "$dir/lenscast" ./agent
env -u GOGC -u GODEBUG go build -o "$dir/fanout" ./scripts/bench/fanout

ffmpeg -nostdin -loglevel error -f lavfi -i testsrc2=size=1920x1080:rate=30 -t 10 -an -c:v libx264 -preset ultrafast -tune zerolatency \
  -pix_fmt yuv420p -g 30 -bf 0 -b:v 8M -minrate 8M -maxrate 8M -bufsize 2M -x264-params nal-hrd=cbr:scenecut=0 "$dir/camera.ts"

read -r web rtc ts < <(python3 -c '
import socket
s = [socket.socket() for _ in range(3)]
for x in s: x.bind(("127.0.0.1", 0))
print(*(x.getsockname()[1] for x in s))')
mkdir "$dir/recordings"
cat >"$dir/lenscast.toml" <<TOML
[viewer]
listen = "127.0.0.1:$web"
[webrtc]
listen = "127.0.0.1:$rtc"
[recording]
dir = "$dir/recordings"
segment = "30s"
[[camera]]
name = "hero"
source = "mpegts"
listen = "udp://127.0.0.1:$ts"
TOML

"$dir/lenscast" run -config "$dir/lenscast.toml" >"$dir/log" 2>&1 &
agent=$!
ffmpeg -nostdin -loglevel error -re -stream_loop -1 -i "$dir/camera.ts" -c copy -f mpegts "udp://127.0.0.1:$ts?pkt_size=1316" &
for _ in $(seq 100); do
  curl -s "http://127.0.0.1:$web/api/status" | grep -q '"state": *"live"' && break
  sleep 0.2
done
mkfifo "$dir/hold"
env -u GOGC -u GODEBUG "$dir/fanout" -role view -url "http://127.0.0.1:$web/whep/hero" -viewers 1 <"$dir/hold" >"$dir/viewer" &
exec 3>"$dir/hold"
sleep 20
curl -s "http://127.0.0.1:$web/api/status" | grep -q '"viewers": *1' || { echo "no viewer" >&2; tail -5 "$dir/log" >&2; exit 1; }

ticks() { awk '{ print $14 + $15 }' "/proc/$agent/stat"; }
start=$(ticks)
for _ in $(seq "$seconds"); do
  awk '/^(VmRSS|RssAnon|RssFile)/ { printf "%d ", $2 } END { print "" }' "/proc/$agent/status"
  sleep 1
done >"$dir/samples"
used=$(($(ticks) - start))

for column in "1 RSS" "2 anon" "3 file"; do
  read -r number name <<<"$column"
  awk -v n="$number" '{ print $n / 1024 }' "$dir/samples" | sort -n |
    awk -v name="$name" '{ v[NR] = $1 } END { printf "%-5s median %5.1f MiB  most %5.1f MiB\n", name, v[int((NR + 1) / 2)], v[NR] }'
done
awk -v used="$used" -v s="$seconds" -v hz="$(getconf CLK_TCK)" 'BEGIN { printf "CPU   %.1f %% of one core\n", 100 * used / hz / s }'
awk '/^Threads/ { print "threads", $2 }' "/proc/$agent/status"
grep '^gc ' "$dir/log" | tail -3 || true
