#!/bin/bash
# netem-guest.sh: the part of netem.sh that runs in the guest, whose loopback is its own.
ip link set lo up
sysctl -qw net.core.rmem_max=16777216
/mnt/share/badnet -netem -lenscast /mnt/share/lenscast -only "loss 5 %" -forms rtp,srt -senders lenscast
