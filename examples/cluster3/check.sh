#!/usr/bin/env bash
# Goes through the README's commands with the files of this directory. What is
# of this machine (names, ports, directories) is given as flags, which win over
# the files.
set -euo pipefail
cd "$(dirname "$0")"
WEIR=${WEIR:-weir}
dir=$(mktemp -d)
chmod 755 "$dir" # as root, builds run as another user
pids=()
stop() {
	status=$?
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
	[ $status -eq 0 ] || tail -n 20 "$dir"/*.log >&2
	rm -rf "$dir"
}
trap stop EXIT

# As the units do it; what builds cannot do without shows here.
confined=()
if command -v setpriv >/dev/null; then confined=(setpriv --no-new-privs); fi

# Ports that nobody listens on, below those that the kernel gives to clients.
ports=(1 2 3 11 12 13 20)
read -r below _ 2>/dev/null </proc/sys/net/ipv4/ip_local_port_range || below=32768
[ "$below" -gt 12000 ] || below=32768
all_free() {
	for port in "${ports[@]}"; do
		! (: <>"/dev/tcp/127.0.0.1/$((base + port))") 2>/dev/null || return 1
	done
}
for _ in $(seq 100); do
	base=$((10000 + RANDOM % (below - 10100)))
	! all_free || break
done
address() { echo "127.0.0.1:$((base + $1))"; }

"$WEIR" tls ca create --dir "$dir/tls" >/dev/null
for i in 1 2 3; do
	"$WEIR" tls cert create --dir "$dir/tls" --name "n$i" --host 127.0.0.1 >/dev/null
done
for i in 1 2 3; do
	join=()
	for j in 1 2 3; do [ $i = $j ] || join+=(--join "$(address $j)"); done
	"${confined[@]}" "$WEIR" server --config node.yaml --name "n$i" --data-dir "$dir/n$i" --tls-dir "$dir/tls/n$i" \
		--listen "$(address $i)" --advertise "$(address $i)" --http-listen "$(address $((i + 10)))" \
		"${join[@]}" >"$dir/n$i.log" 2>&1 &
	pids+=($!)
done
"$WEIR" admin init --tls-dir "$dir/tls/n1" --node "$(address 1)" --node "$(address 2)" --wait 60s \
	--file "$dir/admin.cap" 2>"$dir/admin.log"
export WEIR_CAPABILITY=$dir/admin.cap
"$WEIR" pool create linux --worker-cap "$dir/worker.cap" 2>>"$dir/admin.log"
"$WEIR" client add ci --rate 20 --file "$dir/ci.cap" 2>>"$dir/admin.log"

user=$(id -un)
[ "$(id -u)" -ne 0 ] || user=nobody
env -u WEIR_CAPABILITY "${confined[@]}" "$WEIR" worker --config worker.yaml --connect "$dir/worker.cap" --name w1 \
	--state-dir "$dir/state" --work-dir "$dir/work" --job-user "$user" --min-free 0 --metrics-listen "$(address 20)" >"$dir/worker.log" 2>&1 &
pids+=($!)

[ "$("$WEIR" raft list -o json | grep -c '"name"')" -eq 3 ] || { echo "cluster3: not three members" >&2; exit 1; }
said=$("$WEIR" submit --connect "$dir/ci.cap" --pool linux --label os=linux -- echo built 2>"$dir/submit.log")
case $said in *built*) ;; *) echo "cluster3: no build: $said" >&2; exit 1 ;; esac
if command -v curl >/dev/null; then
	for i in 1 2 3; do
		metrics=$(curl -sS --cacert "$dir/tls/n1/ca.pem" "https://$(address $((i + 10)))/metrics")
		case $metrics in *weir_raft_ready\ 1*) ;; *) echo "cluster3: no metrics of n$i, or it is not ready" >&2; exit 1 ;; esac
	done
	metrics=$(curl -sS "http://$(address 20)/metrics")
	case $metrics in *'weir_worker_attempts_total{outcome="succeeded"} 1'*) ;; *) echo "cluster3: the worker's metrics do not count its build" >&2; exit 1 ;; esac
fi
if command -v systemd-analyze >/dev/null; then
	sed "s|/usr/local/bin/weir|$WEIR|; s|^User=.*|User=root|" weir-server.service >"$dir/weir-server.service"
	sed "s|/usr/local/bin/weir|$WEIR|" weir-worker.service >"$dir/weir-worker.service"
	systemd-analyze verify "$dir"/weir-*.service || { echo "cluster3: the units are wrong" >&2; exit 1; }
fi
echo "cluster3: three nodes, a worker and a build from these files"
