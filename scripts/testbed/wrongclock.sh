#!/bin/bash
# wrongclock.sh: records 1080p on a machine that starts in 1970 and whose clock is set to today, 3 years back, 10 years
# forward and back to 1970 while it records, with a retention of one day, and cuts the power at the end. Then nothing that
# was finished may be missing, the durations add up, and the names are in the order of recording.
set -uo pipefail

here=$(dirname "$(readlink -f "$0")")
. "$here/host.sh"
disk 256M
SHARE=$share "$here/uml.sh" "$here/wrongclock-guest.sh" ubd0="$work/disk.img" >"$work/console" 2>&1
rm -f "$share/status"
SHARE=$share "$here/uml.sh" "$here/check-guest.sh" ubd0="$work/disk.img" >"$work/console" 2>&1 || cat "$work/console" "$share/errors"
cat "$share/result"
judge
echo "$decoded files decoded, $undecoded not"
[[ $undecoded = 0 && $(cat "$share/result") =~ \ lost=0\ broken=0\ .*tail_lost=-?[01]\..*disorder=0 ]]
