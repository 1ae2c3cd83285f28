# guest.sh: what the guest scripts that record have in common. To be sourced.
#
# The host has put the rig (go test -c ./agent/recording) and a clip with sound into /mnt/share.

export LENSCAST_RIG_DIR=/mnt/disk/rec LENSCAST_RIG_CLIP=/mnt/share/clip.h264 LENSCAST_RIG_JOURNAL=/mnt/share/journal
export LENSCAST_RIG_SOUND=/mnt/share/sound.aac LENSCAST_RIG_OUT=/mnt/share/out LENSCAST_RIG_SEGMENT=3s GOMEMLIMIT=200MiB

record() { # in the background
	LENSCAST_RIG=record /mnt/share/rig 2>>/mnt/share/errors &
	rig=$!
}

check() {
	LENSCAST_RIG=check /mnt/share/rig 2>>/mnt/share/errors
}

mkdir -p /mnt/disk
mount -t ext4 /dev/ubda /mnt/disk || exit 3
