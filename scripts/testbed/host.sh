# host.sh: what the scripts that let a guest record have in common. To be sourced after "here" is set.
#
# Makes $work with a disk and $share with the rig and a clip of 1080p at 8 Mbit/s with sound in it; all goes at the end.

bed=${TESTBED:-$HOME/.cache/lenscast-testbed}
"$here/setup.sh" >/dev/null || exit
# In memory, where there is room: the test is of the guest's disk, not of how busy the host's is.
work=$(mktemp -d /dev/shm/lenscast.XXXXXX 2>/dev/null || mktemp -d "$bed/work.XXXXXX")
share=$work/share
mkdir -p "$share/out"
trap 'kill -9 "${guest:-}" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

(cd "$here/../.." && CGO_ENABLED=0 go test -c -o "$share/rig" ./agent/recording) || exit
ffmpeg -v error -f lavfi -i testsrc2=size=1920x1080:rate=30 -t 10 -pix_fmt yuv420p -c:v libx264 -preset ultrafast -bf 0 \
	-b:v 8M -minrate 8M -maxrate 8M -bufsize 4M \
	-x264-params nal-hrd=cbr:aud=1:keyint=30:min-keyint=30:scenecut=0 -f h264 "$share/clip.h264" || exit
ffmpeg -v error -f lavfi -i sine=sample_rate=48000 -t 10 -ac 2 -c:a aac -b:a 128k "$share/sound.aac" || exit

disk() { # SIZE: makes a fresh one
	truncate -s "$1" "$work/disk.img"
	mkfs.ext4 -q "$work/disk.img"
}

# judge lets ffmpeg decode what the guest handed out, and adds to decoded and undecoded.
decoded=0 undecoded=0
judge() {
	local file words
	for file in "$share"/out/*.mp4; do
		[ -e "$file" ] || continue
		if words=$(ffmpeg -v error -i "$file" -f null - 2>&1) && [ -z "$words" ]; then
			decoded=$((decoded + 1))
		else
			undecoded=$((undecoded + 1))
			echo "ffmpeg on $file: $words"
		fi
		rm "$file"
	done
}
