#!/bin/bash
# uml-init.sh: process 1 of a guest of uml.sh. The host's files are its root, read-only, with a RAM overlay above.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C

argument() { # NAME: the value of NAME=value on the kernel's command line
	local word
	for word in $(cat /proc/cmdline); do
		case $word in "$1"=*) echo "${word#*=}" ;; esac
	done
}

if [ -z "${BED_ROOT:-}" ]; then
	mount -t proc proc /proc
	mount -t tmpfs tmpfs /mnt
	mkdir /mnt/upper /mnt/work /mnt/root
	mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
	mkdir -p /mnt/root/mnt/share
	mount -t hostfs -o "$(argument bed.share)" none /mnt/root/mnt/share
	umount /proc
	export BED_ROOT=1
	cd /mnt/root
	exec chroot /mnt/root /bin/bash "$0"
fi

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t debugfs debugfs /sys/kernel/debug
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t configfs configfs /sys/kernel/config
ln -sfn /proc/self/fd /dev/fd
ip link set lo up

bash "$(argument bed.run)" </dev/null
echo $? >/mnt/share/status
sync
echo o >/proc/sysrq-trigger
sleep 5
