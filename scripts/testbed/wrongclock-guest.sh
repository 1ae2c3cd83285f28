# wrongclock-guest.sh: lets the clock jump while it records. Run by wrongclock.sh.
. "$(dirname "$(readlink -f "$0")")/guest.sh"
today=$(date +%s)
date -s @5
record
for seconds in "$today" $((today - 3 * 365 * 86400)) $((today + 10 * 365 * 86400)) 60; do
	sleep 5
	date -s "@$seconds"
done
sleep 5
kill -9 "$rig"
