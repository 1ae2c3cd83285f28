#!/bin/bash
# transfer-powercut.sh [CUTS]: cuts the power of a machine that receives files on ext4 with default mount options, CUTS
# times (default 30) at random moments, and looks each time at what the disk holds: every file that was ever confirmed must
# be there and whole. The sender deletes what is confirmed. In the end every file must be there exactly once.
#
# Needs what setup.sh needs, and e2fsprogs. Prints a line for each cut and a sum; exits with 1 when a promise was broken.
set -uo pipefail

here=$(dirname "$(readlink -f "$0")")
bed=${TESTBED:-$HOME/.cache/lenscast-testbed}
cuts=${1:-30}

"$here/setup.sh" >/dev/null || exit
work=$(mktemp -d /dev/shm/powercut.XXXXXX 2>/dev/null || mktemp -d "$bed/powercut.XXXXXX")
share=$work/share
script=$(mktemp "$bed/guest.XXXXXX") # where the guest sees it: it has a /dev/shm of its own
mkdir -p "$share/src"
trap 'kill -9 "${guest:-}" 2>/dev/null; rm -rf "$work" "$script"' EXIT

(cd "$here/../.." && CGO_ENABLED=0 go build -o "$share/lenscast" ./agent) || exit
truncate -s 4G "$work/disk.img"
mkfs.ext4 -q "$work/disk.img"
: >"$share/journal"

cat >"$script" <<'END'
mkdir -p /mnt/disk
mount -t ext4 /dev/ubda /mnt/disk || exit 3
mkdir -p /mnt/disk/in
cd /mnt/disk/in || exit 3
[ -s /mnt/share/confirmed ] && sha256sum --quiet -c /mnt/share/confirmed >/mnt/share/wrong 2>&1
touch /mnt/share/checked
/mnt/share/lenscast receive -dir /mnt/disk/in -listen 127.0.0.1:9000 -keep-free 1MiB >/dev/null 2>>/mnt/share/receiver.log &
while
	# shellcheck disable=SC2046
	set -- $(ls /mnt/share/src)
	[ $# -gt 0 ]
do
	(cd /mnt/share/src && HOME=/root /mnt/share/lenscast send -json -delete -agent cam -parallel 4 -retry 20s "$@" 127.0.0.1:9000) >>/mnt/share/journal
done
[ -e /mnt/share/last ] || sleep 1000 # until the power goes
find . -path ./.lenscast -prune -o -type f -print0 | xargs -0 sha256sum >/mnt/share/all
sync
cd /
kill %1
wait
umount /mnt/disk && e2fsck -fn /dev/ubda >/mnt/share/fsck 2>&1
END

# feed makes files to send: many small ones and one that has checkpoints.
feed() {
	local i
	for i in $(seq 30); do
		head -c $((RANDOM * 20)) /dev/urandom >"$share/src/clip-$1-$i.mp4"
	done
	head -c 50M /dev/urandom >"$share/src/long-$1.mp4"
	(cd "$share/src" && sha256sum ./*-"$1"-*.mp4 ./long-"$1".mp4) >>"$work/sums"
}

# boot starts the guest and waits until it has checked what the last cut left.
boot() {
	rm -f "$share/checked" "$share/wrong"
	grep -h '"event":"confirmed"' "$share/journal" | sed -n 's/.*"name":"\([^"]*\)".*"sha256":"\([^"]*\)".*/\2  \1/p' >"$share/confirmed"
	SHARE=$share TIMEOUT=600 "$here/uml.sh" "$script" ubd0="$work/disk.img" >"$work/console" 2>&1 &
	guest=$!
	until [ -e "$share/checked" ]; do
		kill -0 "$guest" 2>/dev/null || { echo "the guest ended: $(cat "$work/console")"; exit 1; }
		sleep 0.1
	done
}

broken=0
feed 0
boot
for cut in $(seq "$cuts"); do
	sleep "$((RANDOM % 3)).$((RANDOM % 1000))"
	kill -9 "$guest"
	wait "$guest" 2>/dev/null
	[ "$(ls "$share/src" | wc -l)" -lt 40 ] && feed "$cut"
	[ "$cut" = "$cuts" ] && touch "$share/last"
	boot
	wrong=0
	[ -e "$share/wrong" ] && wrong=$(wc -l <"$share/wrong")
	broken=$((broken + wrong))
	echo "cut $cut: $(wc -l <"$share/confirmed") confirmed so far, $wrong wrong, $(ls "$share/src" | wc -l) to send"
	[ "$wrong" = 0 ] || cat "$share/wrong"
done
wait "$guest" 2>/dev/null
missing=$(cut -d' ' -f1 "$work/sums" | sort | comm -3 - <(cut -d' ' -f1 "$share/all" | sort) | wc -l)
echo "$cuts cuts: $(wc -l <"$work/sums") files, $broken confirmed ones lost or damaged, $missing missing or there twice in the end; $(tail -1 "$share/fsck")"
[ $((broken + missing)) = 0 ]
