# check-guest.sh: checks what the guest before has left.
. "$(dirname "$(readlink -f "$0")")/guest.sh"
check >/mnt/share/result
