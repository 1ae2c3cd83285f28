#!/bin/bash
# transfer.sh: how fast files get to a receiver, verified and synced, beside what others do without that: one file of 1 GiB
# and 10,000 of 100 KiB, over loopback, from memory to memory (/dev/shm), all tools in turn in one run, best of 3.
# SIZE_MIB, FILES and RUNS make it smaller. CPU is user and system time of both sides. Figures of a machine that does
# something else meanwhile mean little; the ratios still hold some truth.
#
# Compares what is installed of rsync (daemon, -W), scp (own sshd, aes128-gcm), nc, iperf3. Needs 5 GiB in /dev/shm.
set -uo pipefail

here=$(dirname "$(readlink -f "$0")")
size=${SIZE_MIB:-1024} files=${FILES:-10000} runs=${RUNS:-3}
work=$(mktemp -d /dev/shm/transfer-bench.XXXXXX)
servers=()
trap '{ kill "${servers[@]}"; wait; } 2>/dev/null; rm -rf "$work"' EXIT
mkdir "$work/in" "$work/many"
(cd "$here/../.." && CGO_ENABLED=0 go build -o "$work/lenscast" ./agent) || exit
head -c "${size}M" /dev/urandom >"$work/big"
head -c "$((files * 100))K" /dev/urandom | (cd "$work/many" && split -a 5 -b 100K --additional-suffix .mp4 -)
port=$((20000 + RANDOM % 20000))

have() { command -v "$1" >/dev/null || { echo "no $1 on this machine"; return 1; }; }
until_open() { until (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do sleep 0.05; done; }
# ticks prints the CPU time of a server and its ended children, in ticks of 10 ms.
ticks() { awk '{print $14 + $15 + $16 + $17}' "/proc/$1/stat"; }

# measure NAME BYTES SERVER COMMAND…: the best of several runs. SERVER is a process id, or 0.
measure() {
	local name=$1 bytes=$2 server=$3 best=999999 cpu=0 i t before=0 after=0
	shift 3
	for i in $(seq "$runs"); do
		find "$work/in" -mindepth 1 -delete
		[ "$server" = 0 ] || before=$(ticks "$server")
		t=$({ TIMEFORMAT='%R %U %S'; time "$@" >/dev/null 2>"$work/errors"; } 2>&1) || { echo "$name failed: $(tail -1 "$work/errors")"; return; }
		after=$before
		sleep 0.3 # until the daemon's child is waited for
		[ "$server" = 0 ] || after=$(ticks "$server")
		read -r t cpu < <(awk -v b="$best" -v c="$cpu" -v d="$((after - before))" \
			'{if ($1 < b) print $1, $2 + $3 + d / 100; else print b, c}' <<<"$t")
		best=$t
	done
	awk -v n="$name" -v b="$bytes" -v t="$best" -v c="$cpu" 'BEGIN {printf "%-44s %7.3f s  %5.2f GB/s  %5.2f ns/B CPU\n", n, t, b / t / 1e9, c / b * 1e9}'
}

start_lenscast() { # FLAGS…
	rm -rf "$work/rx"
	mkdir "$work/rx"
	"$work/lenscast" receive -dir "$work/rx" -listen "127.0.0.1:$port" -keep-free 1MiB -log-level warn "$@" >/dev/null 2>"$work/rx.log" &
	receiver=$!
	servers+=("$receiver")
	until_open "$port"
}
send() { rm -rf "$work"/rx/bench "$work"/rx/.lenscast/done/bench && "$work/lenscast" send -agent bench "$@"; }
peak() { awk '/VmHWM/ {printf "    receiver at most %.1f MiB resident\n", $2 / 1024}' "/proc/$receiver/status"; }

big=$((size * 1048576)) small=$((files * 102400))
echo "== one file of $size MiB"
start_lenscast
pin=$(openssl x509 -in "$work/rx/.lenscast/certificate.pem" -pubkey -noout |
	openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64)
measure "lenscast send (verified, synced)" $big $receiver send "$work/big" "127.0.0.1:$port"
measure "lenscast send, TLS" $big $receiver send -pin "sha256//$pin" "$work/big" "127.0.0.1:$port"
peak
if have rsync; then
	printf 'port = %d\naddress = 127.0.0.1\nuse chroot = no\nuid = %d\ngid = %d\n[in]\npath = %s\nread only = no\n' \
		$((port + 1)) "$(id -u)" "$(id -g)" "$work/in" >"$work/rsyncd.conf"
	rsync --daemon --no-detach --config="$work/rsyncd.conf" &
	rsyncd=$!
	servers+=("$rsyncd")
	until_open $((port + 1))
	measure "rsync daemon -W" $big $rsyncd rsync -W "$work/big" "rsync://127.0.0.1:$((port + 1))/in/"
fi
if have scp && [ -x /usr/sbin/sshd ]; then
	ssh-keygen -q -t ed25519 -N '' -f "$work/host" && ssh-keygen -q -t ed25519 -N '' -f "$work/key"
	chmod 700 "$work" && mkdir -p /run/sshd 2>/dev/null
	"$(command -v sshd || echo /usr/sbin/sshd)" -D -f /dev/null -p $((port + 2)) -h "$work/host" -o ListenAddress=127.0.0.1 -o PidFile=none -o StrictModes=no -o "Subsystem sftp internal-sftp" \
		-o AuthorizedKeysFile="$work/key.pub" 2>"$work/sshd.log" &
	sshd=$!
	servers+=("$sshd")
	until_open $((port + 2))
	ssh=(-q -P $((port + 2)) -i "$work/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes)
	measure "scp aes128-gcm" $big $sshd scp -c aes128-gcm@openssh.com "${ssh[@]}" "$work/big" "127.0.0.1:$work/in/"
fi
if have nc; then
	netcat() {
		nc -l 127.0.0.1 $((port + 3)) >"$work/in/big" &
		sleep 0.1
		nc -N 127.0.0.1 $((port + 3)) <"$work/big"
		wait $!
	}
	measure "nc (0.1 s of it waiting)" $big 0 netcat
fi
if have iperf3; then
	iperf3 -s -B 127.0.0.1 -p $((port + 4)) >/dev/null 2>&1 &
	servers+=($!)
	until_open $((port + 4))
	measure "iperf3 (memory to memory)" $big 0 iperf3 -c 127.0.0.1 -p $((port + 4)) -n "$big"
fi

echo "== $files files of 100 KiB"
cd "$work/many" || exit
list() { find . -name '*.mp4' -print0 | sort -z; }
send_many() { rm -rf "$work"/rx/bench "$work"/rx/.lenscast/done/bench && list | xargs -0 sh -c 'exec "$0" send -agent bench -parallel 4 "$@" "127.0.0.1:'"$port"'"' "$work/lenscast"; }
measure "lenscast send -parallel 4 (verified, synced)" $small $receiver send_many
peak
[ -n "${rsyncd:-}" ] && measure "rsync daemon -W" $small $rsyncd rsync -rW "$work/many/" "rsync://127.0.0.1:$((port + 1))/in/"
[ -n "${sshd:-}" ] && measure "scp aes128-gcm" $small $sshd scp -r -c aes128-gcm@openssh.com "${ssh[@]}" "$work/many" "127.0.0.1:$work/in/"
