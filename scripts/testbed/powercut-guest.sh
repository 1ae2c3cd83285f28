# powercut-guest.sh: checks what the last power cut left, and records until the next. Run by powercut.sh.
. "$(dirname "$(readlink -f "$0")")/guest.sh"
LENSCAST_RIG_NOSYNC=$(cat /mnt/share/nosync)
export LENSCAST_RIG_NOSYNC
check >/mnt/share/result || exit 4
touch /mnt/share/checked
if [ -e /mnt/share/last ]; then
	umount /mnt/disk
	e2fsck -fn /dev/ubda >/mnt/share/fsck 2>&1
	exit
fi
until [ -e /mnt/share/go ]; do sleep 0.1; done
record
wait
