#!/bin/bash
# netem.sh: measures some rows of scripts/bench/badnet with the kernel's netem in place of its relay, to see that both are
# alike. The guest is too slow for this, so its time is: computing takes none.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
bed=${TESTBED:-$HOME/.cache/lenscast-testbed}
mkdir -p "$bed"
share=$(mktemp -d "$bed/netem.XXXXXX")
trap 'rm -rf "$share"' EXIT
(cd "$here/../.." && go build -o "$share/badnet" ./scripts/bench/badnet && go build -o "$share/lenscast" ./agent)
SHARE=$share TIMEOUT=${TIMEOUT:-600} MEM=1024M "$here/uml.sh" "$here/netem-guest.sh" time-travel=inf-cpu
