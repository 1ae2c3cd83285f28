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
# The disk is one and the same for all cuts. Needs what setup.sh needs, ffmpeg and e2fsprogs. Prints a line for each cut
# and a sum; exits with 1 when a promise was broken.
set -uo pipefail

here=$(dirname "$(readlink -f "$0")")
cuts=100 nosync=
while getopts n:k option; do
	case $option in
	n) cuts=$OPTARG ;;
	k) nosync=1 ;;
	*) exit 2 ;;
	esac
done
. "$here/host.sh"
disk 1G
echo "$nosync" >"$share/nosync"

# boot starts the guest and waits until it has checked what the last cut left. It records from "go" on.
boot() {
	rm -f "$share/checked" "$share/go"
	SHARE=$share TIMEOUT=600 "$here/uml.sh" "$here/powercut-guest.sh" ubd0="$work/disk.img" >"$work/console" 2>&1 &
	guest=$!
	until [ -e "$share/checked" ]; do
		kill -0 "$guest" 2>/dev/null || { echo "the guest ended: $(cat "$share/errors" "$work/console")"; exit 1; }
		sleep 0.1
	done
}

finished=0 lost=0 broken=0 over=0 worst=0
boot
for cut in $(seq "$cuts"); do # from its first picture on, up to 8 s
	touch "$share/go"
	until tail -n 1 "$share/journal" 2>/dev/null | grep -q published; do sleep 0.05; done
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
