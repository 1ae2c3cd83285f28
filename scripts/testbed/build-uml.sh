#!/bin/bash
# build-uml.sh: builds the test bed's User-Mode Linux kernel from Debian's linux-source-6.1 into $TESTBED/bin/uml.
#
# Needs: gcc make flex bison bc libelf-dev xz-utils and about 10 minutes of CPU. Everything is built in, no modules:
# storage (ext4, vfat, exfat, f2fs, device mapper), networks (veth, netem), virtual cameras (vivid, and vicodec changed
# by vh264.patch to write real H.264), USB gadgets. CONFIG_UML_PCI_OVER_VIRTIO is what makes media and USB visible at all.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
bed=${TESTBED:-$HOME/.cache/lenscast-testbed}
src=$bed/src/linux-source-6.1
out=$bed/build

mkdir -p "$bed/src" "$bed/bin" "$out"
if [ ! -d "$src" ]; then
	cd "$bed/src"
	apt-get download linux-source-6.1
	dpkg-deb -x linux-source-6.1_*.deb .
	tar -xJf usr/src/linux-source-6.1.tar.xz
	patch -d "$src" -p1 <"$here/vh264.patch"
fi
cd "$src"
make ARCH=um O="$out" defconfig
scripts/kconfig/merge_config.sh -m -O "$out" "$out/.config" "$here/uml.config"
make ARCH=um O="$out" olddefconfig
make ARCH=um O="$out" -j"$(nproc)" linux
strip --strip-debug -o "$bed/bin/uml" "$out/linux"
