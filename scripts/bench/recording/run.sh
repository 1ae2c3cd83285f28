#!/bin/bash
# run.sh [SECONDS]: what it costs to record 1080p at 8 Mbit/s, beside "ffmpeg -c copy -f segment" on the same stream, one
# after the other on a fresh ext4 with default mount options. Prints for each, by the kernel's count of the disk:
#
#   CPU         ms of CPU for a second of the stream
#   written     bytes that reached the disk for each byte of video (write amplification)
#   writes      write requests a second
#   flushes     cache flushes a second: what syncs cost an SD card
#
# ffmpeg never syncs: what it has written when the power goes is up to the kernel, 30 s and more. Needs root, a loop
# device, ffmpeg and e2fsprogs.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
seconds=${1:-60}
work=$(mktemp -d /dev/shm/lenscast.XXXXXX)
mount=$work/mnt
mkdir "$mount"
trap 'umount "$mount" 2>/dev/null || true; rm -rf "$work"' EXIT

(cd "$here/../../.." && go test -c -o "$work/rig" ./agent/recording)
ffmpeg -v error -f lavfi -i testsrc2=size=1920x1080:rate=30 -t 10 -pix_fmt yuv420p -c:v libx264 -preset ultrafast -bf 0 \
	-b:v 8M -minrate 8M -maxrate 8M -bufsize 4M \
	-x264-params nal-hrd=cbr:aud=1:keyint=30:min-keyint=30:scenecut=0 -f h264 "$work/clip.h264"
ffmpeg -v error -r 30 -i "$work/clip.h264" -c copy "$work/clip.mp4"
video=$(($(stat -c %s "$work/clip.h264") * seconds / 10))

disk_counts() { # writes, sectors written and flushes of the disk, see Documentation/block/stat.rst
	awk '{print $5, $7, $16}' "/sys/block/$(basename "$(findmnt -no SOURCE "$mount")")/stat"
}

# measure NAME COMMAND...: runs it on a fresh disk.
measure() {
	local name=$1 before after cpu
	shift
	truncate -s 0 "$work/disk.img"
	truncate -s $((video * 2 + (256 << 20))) "$work/disk.img"
	mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$work/disk.img"
	mount -o loop "$work/disk.img" "$mount"
	before=$(disk_counts)
	TIMEFORMAT='%U %S'
	cpu=$({ time "$@" </dev/null >/dev/null 2>"$work/errors"; } 2>&1) || { cat "$work/errors" >&2; exit 1; }
	sync -f "$mount"
	after=$(disk_counts)
	umount "$mount"
	awk -v name="$name" -v cpu="$cpu" -v before="$before" -v after="$after" -v video="$video" -v s="$seconds" 'BEGIN {
		split(cpu, c); split(before, b); split(after, a)
		printf "%-10s CPU %6.2f ms/s   written %.3f   writes %5.1f/s   flushes %.2f/s\n", name,
			(c[1] + c[2]) * 1000 / s, (a[2] - b[2]) * 512 / video, (a[1] - b[1]) / s, (a[3] - b[3]) / s
	}'
}

for round in 1 2 3; do
	measure lenscast env LENSCAST_RIG=record LENSCAST_RIG_DIR="$mount/rec" LENSCAST_RIG_CLIP="$work/clip.h264" \
		LENSCAST_RIG_SEGMENT=30s LENSCAST_RIG_FOR="${seconds}s" "$work/rig"
	measure ffmpeg ffmpeg -nostdin -v error -re -stream_loop -1 -i "$work/clip.mp4" -t "$seconds" -c copy -f segment \
		-segment_time 30 -segment_format mp4 \
		-segment_format_options movflags=frag_keyframe+empty_moov+default_base_moof "$mount/%06d.mp4"
done
