#!/usr/bin/env bash
# Proves the agent on arm64 without an ARM machine: a Debian 13 (its Node is 20) made by debootstrap and run by qemu-user installs the
# agent's tarball as its owner would, and delivers readings to a gateway on this machine.
# Needs root, and: apt-get install debootstrap qemu-user-static binfmt-support. Takes half an hour the first time: the emulated compiler
# builds SQLite. Exit code 0: every reading is in the archive. 1: not so. 2: something to correct first.
#
# Usage: npm run build && load/verify-arm.sh [FOLDER]      FOLDER keeps the Debian for the next time; without one nothing is kept
set -euo pipefail
cd "$(dirname "$0")/.."

readings=120
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
fail() { echo "verify-arm: $1" >&2; exit 2; }

[ "$(id -u)" = 0 ] || fail 'a Debian can only be made and entered as root: run it with sudo'
for command in debootstrap qemu-aarch64-static update-binfmts; do
  command -v "$command" >/dev/null || fail "there is no $command: apt-get install debootstrap qemu-user-static binfmt-support"
done
[ -f agent/dist/cli.js ] || fail 'the agent is not built: npm run build'

work=$(mktemp -d)
debian=$(realpath -m "${1:-$work/debian}")
gateway=
finish() {
  [ -z "$gateway" ] || kill -KILL "$gateway" 2>/dev/null || true
  ! mountpoint -q "$debian/proc" || umount "$debian/proc"
  rm -rf "$work"
}
trap finish EXIT
inside() {
  chroot "$debian" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root DEBIAN_FRONTEND=noninteractive \
    NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt "$@"
}
step() { printf '\n== %s  (%s)\n' "$1" "$(date -u +%H:%M:%S)"; }

# the kernel hands arm64 programs to qemu, in a chroot too
mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64

if [ ! -e "$debian/.made" ]; then
  step 'debootstrap: Debian 13, arm64'
  debootstrap --arch=arm64 --variant=minbase --include=ca-certificates trixie "$debian" "$mirror" >"$work/debootstrap.log" ||
    { tail -5 "$work/debootstrap.log" >&2; fail 'debootstrap did not succeed'; }
  step 'apt-get install nodejs npm, and what compiles SQLite'
  inside apt-get install -y -qq --no-install-recommends nodejs npm g++ make python3 libnode-dev >"$work/apt.log" 2>&1 ||
    { tail -5 "$work/apt.log" >&2; fail 'apt-get did not succeed'; }
  touch "$debian/.made"
fi
# whom this machine trusts (a company's proxy, say) is trusted in there
cp /etc/ssl/certs/ca-certificates.crt "$debian/etc/ssl/certs/ca-certificates.crt"
cp /etc/resolv.conf "$debian/etc/resolv.conf"
mountpoint -q "$debian/proc" || mount -t proc proc "$debian/proc"
inside sh -c '. /etc/os-release; echo "$PRETTY_NAME, $(uname -m), Node $(node --version), npm $(npm --version)"'

step 'npm install -g of the tarball'
tarball=$(node load/dist/pack-agent.js --out "$work")
cp "$tarball" "$debian/root/"
[ -d "$debian/usr/local/lib/node_modules/@tidemark/agent/node_modules" ] && inside npm uninstall -g @tidemark/agent >/dev/null
inside bash -c "cd /root && time npm_config_nodedir=/usr npm install -g --no-audit --no-fund ./$(basename "$tarball")"
inside sh -c 'du -sh /usr/local/lib/node_modules/@tidemark/agent | cut -f1; tidemark-agent --version'

step 'deliver'
node gateway/dist/cli.js start --data-dir "$work/data" --mqtt 127.0.0.1:0 --http 127.0.0.1:0 >"$work/gateway.log" 2>&1 &
gateway=$!
for _ in $(seq 100); do grep -q '"ready"' "$work/gateway.log" && break; sleep 0.1; done
mqtt=$(sed -n 's/.*"mqtt":"\([^"]*\)".*"ready".*/\1/p' "$work/gateway.log")
[ -n "$mqtt" ] || { cat "$work/gateway.log" >&2; fail 'the gateway did not start'; }
rm -rf "$debian/root/proof" && mkdir "$debian/root/proof"
cat >"$debian/root/proof/machine.yaml" <<EOF
device_id: arm64-machine
gateway: { url: "mqtt://$mqtt" }
profile: rotating-machine
buffer: { path: machine.sqlite }
source: { type: simulated, readings: $readings }
interval: 100ms
EOF
cat >"$debian/root/proof/host.yaml" <<EOF
device_id: arm64-host
gateway: { url: "mqtt://$mqtt" }
profile: host
buffer: { path: host.sqlite, durability: spill }
source: { type: system }
EOF
for name in machine host; do inside sh -c "cd /root/proof && tidemark-agent start --once --config $name.yaml" | tail -1; done
inside sh -c 'cd /root/proof && tidemark-agent status --config machine.yaml && tidemark-agent doctor --config machine.yaml'
kill -TERM "$gateway" && wait "$gateway"
gateway=

step 'what the archive holds'
node gateway/dist/cli.js ledger --data-dir "$work/data"
archived=$(node gateway/dist/cli.js sql --data-dir "$work/data" --json 'SELECT device_id, count(*)::INT AS readings, max(seq)::INT AS seq FROM readings GROUP BY 1 ORDER BY 1')
echo "$archived"
node -e '
  const rows = JSON.parse(process.argv[1])
  const expected = [["arm64-machine", Number(process.argv[2])]]
  const found = rows.map(({ device_id, readings, seq }) => [device_id, Number(readings), Number(seq)])
  const ok = expected.every(([device, n]) => found.some(([d, r, s]) => d === device && r === n && s === n))
  console.log(ok ? "proved: every reading of the arm64 agent is in the archive" : "NOT proved: readings are missing")
  process.exit(ok ? 0 : 1)' "$archived" "$readings"
