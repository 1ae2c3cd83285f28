#!/bin/bash
# setup.sh: puts a User-Mode Linux kernel into $TESTBED (default ~/.cache/lenscast-testbed).
#
# It takes the kernel from $LENSCAST_UML (the program itself, or one packed by xz) and builds it otherwise, which needs
# about 10 minutes of CPU; see build-uml.sh.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
bed=${TESTBED:-$HOME/.cache/lenscast-testbed}
kernel=$bed/bin/uml

mkdir -p "$bed/bin"
if [ ! -x "$kernel" ]; then
	case ${LENSCAST_UML:-} in
	"") "$here/build-uml.sh" ;;
	*.xz) xz -dc "$LENSCAST_UML" >"$kernel.new" && chmod +x "$kernel.new" && mv "$kernel.new" "$kernel" ;;
	*) ln -sf "$(readlink -f "$LENSCAST_UML")" "$kernel" ;;
	esac
fi
echo "$kernel"
