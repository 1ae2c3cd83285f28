# fulldisk-guest.sh: fills the disk while it records. Run by fulldisk.sh.
. "$(dirname "$(readlink -f "$0")")/guest.sh"
export LENSCAST_RIG_KEEP=1
record
sleep 10
dd if=/dev/zero of=/mnt/disk/filler bs=64k 2>/dev/null
sleep 5
df -B1 /mnt/disk | tail -1 >/mnt/share/df
sleep "$(cat /mnt/share/full)"
rm /mnt/disk/filler
sleep 15
kill -9 "$rig"
