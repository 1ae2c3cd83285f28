#!/bin/bash
# uml.sh GUEST-SCRIPT [KERNEL-ARGUMENT]...: boots User-Mode Linux, runs the script as root and exits with its status
# (250: the guest gave none; 124: it took longer than $TIMEOUT seconds, default 300).
#
# The guest sees the host's files below a RAM overlay; only $SHARE (default: a new folder below $TESTBED) is written
# through, and is /mnt/share there. Useful arguments: ubd0=disk.img (a disk, /dev/ubda), vivid.n_devs=2,
# vicodec.multiplanar=1, time-travel (idle time takes no time). Everything the guest prints comes out here.
#
# Killing this script's process with SIGKILL is a power cut: the kernel and all its helpers die at once, and what the
# guest had not written to its disk is gone.
set -uo pipefail

here=$(dirname "$(readlink -f "$0")")
bed=${TESTBED:-$HOME/.cache/lenscast-testbed}
kernel=$("$here/setup.sh" | tail -1) || exit 250
script=$(readlink -f "$1") || exit 250
shift
share=${SHARE:-$(mktemp -d "$bed/share.XXXXXX")}
rm -f "$share/status"

# The guest's memory is a file there: on a disk it would be written back all the time.
tmp=/dev/shm
[ -w "$tmp" ] || { tmp=$bed/tmp && mkdir -p "$tmp"; }

# exec, so that the process id of this script is the one to kill; the new PID namespace takes the helpers along.
# shellcheck disable=SC2016 # the inner shell expands them
TMPDIR=$tmp exec unshare --pid --fork --kill-child=SIGKILL \
	bash -c 'share=$1 limit=$2; shift 2; timeout -s KILL "$limit" "$@" </dev/null; s=$?
		[ $s = 137 ] && exit 124; exit "$(cat "$share/status" 2>/dev/null || echo 250)"' - "$share" "${TIMEOUT:-300}" \
	"$kernel" mem="${MEM:-512M}" rootfstype=hostfs rootflags=/ ro root=/dev/root init="$here/uml-init.sh" \
	con=null con0=null,fd:1 quiet panic=-1 bed.share="$share" bed.run="$script" "$@"
