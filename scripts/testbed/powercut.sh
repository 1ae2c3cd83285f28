#!/bin/bash
# powercut.sh [-n CUTS] [-k]: cuts the power of a machine that records 1080p at 8 Mbit/s on ext4 with default mount
# options, CUTS times (default 100) at random moments, and looks each time at what the disk holds:
#
#   - every recording that was called finished is there and has its checksum
#   - of the running one, no more is lost than is configured (2 s)
#   - ffmpeg decodes every file, repaired ones too, without a word
#
# -k is the control: it records without syncing, as many programs do. Then recordings must get lost, or this proves nothing.
#
# The disk is one and the same for all cuts, so that repairs are cut as well. Needs what setup.sh needs, ffmpeg and
# e2fsprogs. Prints a line for each cut and a sum; exits with 1 when a promise was broken.
set -uo pipefail

here=$(dirname "$(readlink -f "$0")")
bed=${TESTBED:-$HOME/.cache/lenscast-testbed}
cuts=100 nosync=
while getopts n:k option; do
	case $option in
	n) cuts=$OPTARG ;;
	k) nosync=1 ;;
	*) exit 2 ;;
	esac
done

"$here/setup.sh" >/dev/null || exit
# In memory, where there is room: the test is of the guest's syncs, not of how busy the disk of the host is.
work=$(mktemp -d /dev/shm/powercut.XXXXXX 2>/dev/null || mktemp -d "$bed/powercut.XXXXXX")
share=$work/share
script=$(mktemp "$bed/guest.XXXXXX") # where the guest sees it: it has a /dev/shm of its own
mkdir -p "$share/out"
trap 'kill -9 "${guest:-}" 2>/dev/null; rm -rf "$work" "$script"' EXIT

(cd "$here/../.." && CGO_ENABLED=0 go test -c -o "$share/rig" ./agent/recording) || exit
ffmpeg -v error -f lavfi -i testsrc2=size=1920x1080:rate=30 -t 10 -pix_fmt yuv420p -c:v libx264 -preset ultrafast -bf 0 \
	-b:v 8M -minrate 8M -maxrate 8M -bufsize 4M \
	-x264-params nal-hrd=cbr:aud=1:keyint=30:min-keyint=30:scenecut=0 -f h264 "$share/clip.h264" || exit
truncate -s 1G "$work/disk.img"
mkfs.ext4 -q "$work/disk.img"

cat >"$script" <<END
export LENSCAST_RIG_DIR=/mnt/disk/rec LENSCAST_RIG_CLIP=/mnt/share/clip.h264 LENSCAST_RIG_JOURNAL=/mnt/share/journal
export LENSCAST_RIG_OUT=/mnt/share/out LENSCAST_RIG_SEGMENT=3s LENSCAST_RIG_NOSYNC=$nosync GOMEMLIMIT=200MiB
mkdir -p /mnt/disk
mount -t ext4 /dev/ubda /mnt/disk || exit 3
LENSCAST_RIG=check /mnt/share/rig >/mnt/share/result 2>>/mnt/share/errors || exit 4
touch /mnt/share/checked
[ -e /mnt/share/last ] && { umount /mnt/disk; e2fsck -fn /dev/ubda >/mnt/share/fsck 2>&1; exit; }
until [ -e /mnt/share/go ]; do sleep 0.1; done
LENSCAST_RIG=record /mnt/share/rig 2>>/mnt/share/errors
END

# boot starts the guest and waits until it has checked what the last cut left. It records from "go" on.
boot() {
	rm -f "$share/checked" "$share/result" "$share/go"
	SHARE=$share TIMEOUT=120 "$here/uml.sh" "$script" ubd0="$work/disk.img" >"$work/console" 2>&1 &
	guest=$!
	until [ -e "$share/checked" ]; do
		kill -0 "$guest" 2>/dev/null || { echo "the guest ended: $(cat "$share/errors" "$work/console")"; exit 1; }
		sleep 0.1
	done
}

# judge lets ffmpeg decode what the guest handed out.
judge() {
	local file words
	for file in "$share"/out/*.mp4; do
		[ -e "$file" ] || continue
		words=$(ffmpeg -v error -i "$file" -f null - 2>&1) && [ -z "$words" ] &&
			ffprobe -v error -show_entries format=duration -of csv=p=0 "$file" >/dev/null && decoded=$((decoded + 1)) ||
			{ undecoded=$((undecoded + 1)); echo "ffmpeg on $file: $words"; }
		rm "$file"
	done
}

finished=0 lost=0 broken=0 decoded=0 undecoded=0 over=0 worst=0
boot
for cut in $(seq "$cuts"); do
	touch "$share/go"
	sleep "$((RANDOM % 8)).$((RANDOM % 1000))"
	kill -9 "$guest"
	wait "$guest" 2>/dev/null
	[ "$cut" = "$cuts" ] && touch "$share/last"
	boot
	result=$(cat "$share/result")
	echo "cut $cut: $result"
	[[ $result =~ finished=([0-9]+)\ lost=([0-9]+)\ broken=([0-9]+)\ published=([0-9.]+)\ tail_lost=([0-9.-]+) ]] || continue
	finished=$((finished + BASH_REMATCH[1])) lost=$((lost + BASH_REMATCH[2])) broken=$((broken + BASH_REMATCH[3]))
	over=$((over + $(bc <<<"${BASH_REMATCH[5]} > 2")))
	worst=$(bc <<<"if (${BASH_REMATCH[5]} > $worst) ${BASH_REMATCH[5]} else $worst")
	judge
done
wait "$guest" 2>/dev/null
echo "$cuts cuts: $finished finished recordings, $lost lost, $broken broken; $decoded files decoded, $undecoded not;" \
	"at most $worst s lost of the running one, $over times more than 2 s; $(tail -1 "$share/fsck")"
[ $((lost + broken + undecoded + over)) = 0 ]
