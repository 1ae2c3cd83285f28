#!/bin/bash
# fulldisk.sh [SECONDS]: records 1080p on an ext4 of 160 MB, fills that up from beside for so long (default 600), makes
# room again, and cuts the power. Then nothing that was finished may be missing or broken, and the recording must have
# gone on after the room was there.
set -uo pipefail

here=$(dirname "$(readlink -f "$0")")
. "$here/host.sh"
disk 160M
echo "${1:-600}" >"$share/full"
SHARE=$share TIMEOUT=1200 "$here/uml.sh" "$here/fulldisk-guest.sh" ubd0="$work/disk.img" >"$work/console" 2>&1
grep -a 'recording' "$share/errors"
SHARE=$share "$here/uml.sh" "$here/check-guest.sh" ubd0="$work/disk.img" >"$work/console" 2>&1 || cat "$work/console" "$share/errors"
cat "$share/result" "$share/df"
judge
echo "$decoded files decoded, $undecoded not"
[[ $undecoded = 0 && $(cat "$share/result") =~ \ lost=0\ broken=0 ]] && grep -aq 'recording goes on' "$share/errors"
