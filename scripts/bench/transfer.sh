#!/bin/bash
# transfer.sh: how fast files get to a receiver, verified and synced, beside other tools: one file of 1 GiB and 10,000 of
# 100 KiB over loopback, in a folder in memory, all tools by turns in one run, three times: the best and the median. Then the
# memory of 100 transfers at once. SIZE_MIB, FILES and RUNS make it smaller, PARTS (default: one many parallel) shorter,
# DIR=/var/tmp takes a disk. CPU is user and system time of both sides, in the best run.
# Figures of a machine that does something else meanwhile mean little; the ratios still hold some truth.
#
# What is compared with what: lenscast confirms a file when it is verified by SHA-256 and synced. rsync verifies (xxh128)
# and syncs only with --fsync, each file but not the folder with its name, so that row is its nearest peer; the row without
# is printed because that is how people run it.
# scp neither verifies beyond its encryption nor syncs, nc does nothing of all that. "Recording" is a file that lenscast has
# recorded, whose SHA-256 lies beside it, so that it is taken only once more, by the receiver; of any other file both sides
# take it.
#
# Compares what is installed of rsync (daemon, -W), scp (own sshd, aes128-gcm), nc, iperf3. Needs 5 GiB in DIR, on a
# disk 1 GiB more for each run of each row.
set -uo pipefail

here=$(dirname "$(readlink -f "$0")")
size=${SIZE_MIB:-1024} files=${FILES:-10000} runs=${RUNS:-3} parts=${PARTS:-one many parallel}
work=$(mktemp -d "${DIR:-/dev/shm}/transfer-bench.XXXXXX")
servers=()
trap '{ kill "${servers[@]}"; wait; } 2>/dev/null; rm -rf "$work"' EXIT
mkdir "$work/in" "$work/many" "$work/recorded" "$work/recordings"
(cd "$here/../.." && CGO_ENABLED=0 go build -o "$work/lenscast" ./agent) || exit
part() { [[ " $parts " == *" $1 "* ]]; }
# describe puts beside a file what lenscast puts beside a recording.
describe() { printf '{"size":%d,"sha256":"%s"}' "$(stat -c %s "$1")" "$2" >"${1%.mp4}.json"; }
if part one; then
	head -c "${size}M" /dev/urandom >"$work/big"
	ln "$work/big" "$work/recorded/big.mp4"
	describe "$work/recorded/big.mp4" "$(sha256sum <"$work/big" | cut -d' ' -f1)"
fi
if part many; then
	head -c "$((files * 100))K" /dev/urandom | (cd "$work/many" && split -a 5 -b 100K --additional-suffix .mp4 -)
	(cd "$work/many" && ln -- *.mp4 ../recordings && sha256sum -- *.mp4) |
		while read -r sum name; do describe "$work/recordings/$name" "$sum"; done
fi
port=$((20000 + RANDOM % 20000))

have() { command -v "$1" >/dev/null || { echo "no $1 on this machine"; return 1; }; }
until_open() { until (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do sleep 0.05; done; }
# ticks prints the CPU time of a server and its ended children, in ticks of 10 ms.
ticks() { awk '{print $14 + $15 + $16 + $17}' "/proc/$1/stat"; }

# clear_away takes what the run before has left out of the way. Many files stay on
# a disk until the end: ext4 without a journal passes over every inode that was
# removed in the last minutes (recently_deleted in fs/ext4/ialloc.c), which made
# the same run take between 3.4 and 9.6 s.
# The files become new ones: for one that it has confirmed, lenscast looks up what
# became of it.
clear_away() {
	find "$work/big" "$work/many" -type f -exec touch {} + 2>/dev/null # one of them may not be there
	if [ "$(stat -f -c %T "$work")" = tmpfs ] || ! part many; then
		rm -rf "$work/in" "$work/rx/bench"
	else
		local aside
		aside=$(mktemp -d "$work/aside.XXX")
		mv "$work/in" "$work/rx/bench" "$aside" 2>/dev/null # the second comes with the first file
	fi
	sync -f "$work"
	mkdir "$work/in"
}

# measure NAME BYTES SERVER COMMAND…: one run, for report. SERVER is a process id, or 0.
measure() {
	local name=$1 bytes=$2 server=$3 t before=0 after=0
	shift 3
	clear_away
	[ "$server" = 0 ] || before=$(ticks "$server")
	t=$({ TIMEFORMAT='%R %U %S'; time "$@" >/dev/null 2>"$work/errors"; } 2>&1) || { echo "$name failed: $(tail -1 "$work/errors")"; return; }
	sleep 0.3 # until the daemon's child is waited for
	[ "$server" = 0 ] || after=$(ticks "$server")
	printf '%s\t%s\n' "$t $((after - before)) $bytes" "$name" >>"$work/results"
}

# report prints what was measured, the best run of each.
report() {
	sort -n "$work/results" | awk -F '\t' '
		{ name = $2; split($1, was, " "); n = ++runs[name]; times[name, n] = was[1] }
		n == 1 { cpu[name] = was[2] + was[3] + was[4] / 100; bytes[name] = was[5] }
		END { for (name in runs) {
			t = times[name, 1]; median = times[name, int((runs[name] + 1) / 2)]
			printf "%-32s %7.3f s, median %7.3f  %5.2f GB/s  %5.2f ns/B CPU\n", name, t, median, bytes[name] / t / 1e9, cpu[name] / bytes[name] * 1e9
		} }' | sort
	rm "$work/results"
}

start_lenscast() {
	rm -rf "$work/rx"
	mkdir "$work/rx"
	"$work/lenscast" receive -dir "$work/rx" -listen ":$port" -token-file "$work/token" -keep-free 1MiB -log-level warn >/dev/null 2>"$work/rx.log" &
	receiver=$!
	servers+=("$receiver")
	until_open "$port"
	local pin
	pin=$(openssl x509 -in "$work/rx/.lenscast/certificate.pem" -pubkey -noout |
		openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64)
	secure=(-pin "sha256//$pin")
}
send() { "$work/lenscast" send -agent bench -token-file "$work/token" "$@"; }
peak() { awk -v n="$1" '/VmHWM/ {printf "    %s at most %.1f MiB resident\n", n, $2 / 1024}' "/proc/$2/status" 2>/dev/null; }

big=$((size * 1048576)) small=$((files * 102400))
echo secret >"$work/token"
start_lenscast
if (part one || part many) && have rsync; then
	printf 'port = %d\naddress = 127.0.0.1\nuse chroot = no\nuid = %d\ngid = %d\n[in]\npath = %s\nread only = no\n' \
		$((port + 1)) "$(id -u)" "$(id -g)" "$work/in" >"$work/rsyncd.conf"
	rsync --daemon --no-detach --config="$work/rsyncd.conf" &
	rsyncd=$!
	servers+=("$rsyncd")
	until_open $((port + 1))
fi
if (part one || part many) && have scp && [ -x /usr/sbin/sshd ]; then
	ssh-keygen -q -t ed25519 -N '' -f "$work/host" && ssh-keygen -q -t ed25519 -N '' -f "$work/key"
	chmod 700 "$work" && mkdir -p /run/sshd 2>/dev/null
	"$(command -v sshd || echo /usr/sbin/sshd)" -D -f /dev/null -p $((port + 2)) -h "$work/host" -o ListenAddress=127.0.0.1 -o PidFile=none -o StrictModes=no -o "Subsystem sftp internal-sftp" \
		-o AuthorizedKeysFile="$work/key.pub" 2>"$work/sshd.log" &
	sshd=$!
	servers+=("$sshd")
	until_open $((port + 2))
	ssh=(-q -P $((port + 2)) -i "$work/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes)
fi

# send_many FOLDER FLAGS…: all files of it, in one call.
send_many() {
	local folder=$1
	shift
	(cd "$folder" && exec "$work/lenscast" send -agent bench -token-file "$work/token" "$@" -- *.mp4 "127.0.0.1:$port")
}
netcat() {
	nc -l 127.0.0.1 $((port + 3)) >"$work/in/big" &
	sleep 0.1
	nc -N 127.0.0.1 $((port + 3)) <"$work/big"
	wait $!
}

if part one; then
	echo "== one file of $size MiB"
	if have iperf3; then
		iperf3 -s -B 127.0.0.1 -p $((port + 4)) >/dev/null 2>&1 &
		iperfd=$!
		servers+=("$iperfd")
		until_open $((port + 4))
	fi
	for _ in $(seq "$runs"); do
		measure "lenscast, a recording" $big $receiver send "$work/recorded/big.mp4" "127.0.0.1:$port"
		measure "lenscast, another file" $big $receiver send "$work/big" "127.0.0.1:$port"
		if [ -n "${rsyncd:-}" ]; then
			measure "rsync daemon -W --fsync" $big $rsyncd rsync -W --fsync "$work/big" "rsync://127.0.0.1:$((port + 1))/in/"
			measure "rsync daemon -W (not synced)" $big $rsyncd rsync -W "$work/big" "rsync://127.0.0.1:$((port + 1))/in/"
		fi
		measure "lenscast, TLS, a recording" $big $receiver send "${secure[@]}" "$work/recorded/big.mp4" "127.0.0.1:$port"
		measure "lenscast, TLS, another file" $big $receiver send "${secure[@]}" "$work/big" "127.0.0.1:$port"
		[ -n "${sshd:-}" ] && measure "scp aes128-gcm" $big $sshd scp -c aes128-gcm@openssh.com "${ssh[@]}" "$work/big" "127.0.0.1:$work/in/"
		have nc && measure "nc (0.1 s of it waiting)" $big 0 netcat
		[ -n "${iperfd:-}" ] && measure "iperf3 (memory to memory)" $big $iperfd iperf3 -c 127.0.0.1 -p $((port + 4)) -n "$big"
	done
	report
	peak receiver "$receiver"
fi

if part many; then
	echo "== $files files of 100 KiB"
	for _ in $(seq "$runs"); do
		measure "lenscast, recordings" $small $receiver send_many "$work/recordings"
		measure "lenscast, other files" $small $receiver send_many "$work/many"
		if [ -n "${rsyncd:-}" ]; then
			measure "rsync daemon -W --fsync" $small $rsyncd rsync -rW --fsync "$work/many/" "rsync://127.0.0.1:$((port + 1))/in/"
			measure "rsync daemon -W (not synced)" $small $rsyncd rsync -rW "$work/many/" "rsync://127.0.0.1:$((port + 1))/in/"
		fi
		measure "lenscast, TLS, recordings" $small $receiver send_many "$work/recordings" "${secure[@]}"
		measure "lenscast, TLS, other files" $small $receiver send_many "$work/many" "${secure[@]}"
		[ -n "${sshd:-}" ] && measure "scp aes128-gcm" $small $sshd scp -r -c aes128-gcm@openssh.com "${ssh[@]}" "$work/many" "127.0.0.1:$work/in/"
	done
	report
	peak receiver "$receiver"
fi

part parallel || exit 0
# A receiver takes 64 connections from one address, so they come from two.
echo "== 100 transfers at once"
find "$work/in" "$work/many" "$work/recordings" -mindepth 1 -delete
for i in $(seq 100); do head -c 12M /dev/urandom >"$work/many/$i.mp4"; done
for mode in plain TLS; do
	kill "$receiver" && wait "$receiver"
	start_lenscast
	[ $mode = TLS ] || secure=()
	cd "$work/many" || exit
	for half in "1 50 127.0.0.1" "51 100 [::1]"; do
		read -r from to host <<<"$half"
		"$work/lenscast" send -agent bench -token-file "$work/token" "${secure[@]}" -parallel 50 $(seq -f '%.0f.mp4' "$from" "$to") "$host:$port" >/dev/null &
		sender=$!
	done
	open=0
	while kill -0 "$sender" 2>/dev/null; do
		now=$(ss -Htn state established "( sport = :$port )" | wc -l)
		[ "$now" -gt "$open" ] && open=$now
		last=$(peak "a sender of 50" "$sender")
		sleep 0.1
	done
	wait "$sender"
	echo "$mode, $open connections"
	echo "$last"
	peak receiver "$receiver"
done
