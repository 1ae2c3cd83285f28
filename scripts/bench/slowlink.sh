# Sourced by benchmarks that need a slow link: three network namespaces in a row,
# lcast-send (10.99.1.1), lcast-mid, and lcast-view (10.99.2.2). What goes out of
# "view" in lcast-mid is the bottleneck: give it a queueing discipline.

remove_link() {
	for ns in lcast-send lcast-mid lcast-view; do
		ip netns del "$ns" 2>/dev/null || true
	done
}

make_link() {
	for ns in lcast-send lcast-mid lcast-view; do
		ip netns add "$ns"
		ip -n "$ns" link set lo up
	done
	ip link add eth0 netns lcast-send type veth peer name send netns lcast-mid
	ip link add eth0 netns lcast-view type veth peer name view netns lcast-mid
	ip -n lcast-send addr add 10.99.1.1/24 dev eth0
	ip -n lcast-mid addr add 10.99.1.2/24 dev send
	ip -n lcast-mid addr add 10.99.2.1/24 dev view
	ip -n lcast-view addr add 10.99.2.2/24 dev eth0
	ip -n lcast-send link set eth0 up
	ip -n lcast-mid link set send up
	ip -n lcast-mid link set view up
	ip -n lcast-view link set eth0 up
	ip -n lcast-send route add default via 10.99.1.2
	ip -n lcast-view route add default via 10.99.2.1
	ip netns exec lcast-mid sysctl -qw net.ipv4.ip_forward=1
}
