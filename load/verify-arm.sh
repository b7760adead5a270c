#!/usr/bin/env bash
# Proves the agent on arm64 without an ARM machine: a Debian 13 (its Node is 20) made by debootstrap and run by qemu-user installs the
# agent's tarball as its owner would, samples, is killed with SIGKILL and started again; a gateway on this machine must have archived every
# reading once, with the values that an agent of this machine gives for the same source.
# What runs there is arm64: Node, npm, the agent, its SQLite. Only the compiler that SQLite is built with is this machine's cross compiler,
# copied in, since an emulated one takes longer than half an hour.
# Needs root on an x86-64 Debian, and the packages named below. A quarter of an hour the first time. Exit code 0: proved. 1: not so.
# 2: something to correct first.
#
# Usage: npm run build && load/verify-arm.sh [FOLDER]      FOLDER keeps the Debian for the next time; without one nothing is kept
set -euo pipefail
cd "$(dirname "$0")/.."

readings=600
killed_at=200
packages='debootstrap qemu-user-static binfmt-support gcc-aarch64-linux-gnu g++-aarch64-linux-gnu file'
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
fail() { echo "verify-arm: $1" >&2; exit "${2:-2}"; }

[ "$(id -u)" = 0 ] || fail 'a Debian can only be made and entered as root: run it with sudo'
for command in debootstrap qemu-aarch64-static update-binfmts aarch64-linux-gnu-gcc aarch64-linux-gnu-g++ file; do
  command -v "$command" >/dev/null || fail "there is no $command: apt-get install $packages"
done
[ -f agent/dist/cli.js ] || fail 'the agent is not built: npm run build'

work=$(mktemp -d)
debian=$(realpath -m "${1:-$work/debian}")
started=()
finish() {
  for pid in "${started[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  ! mountpoint -q "$debian/proc" || umount "$debian/proc"
  rm -rf --one-file-system "$work"
}
trap finish EXIT
# a background process keeps the pid that it is started with through all of these
enter=(chroot "$debian" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root DEBIAN_FRONTEND=noninteractive
  NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt)
inside() { "${enter[@]}" "$@"; }
step() { printf '\n== %s  (%s)\n' "$1" "$(date -u +%H:%M:%S)"; }

echo "commit $(git rev-parse --short HEAD), $(date -u +%F), $(nproc) cores of $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(uname -srm)"

# the kernel hands arm64 programs to qemu, in a chroot too
mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64

if [ ! -e "$debian/.made" ]; then
  step 'debootstrap: Debian 13, arm64'
  debootstrap --arch=arm64 --variant=minbase --include=ca-certificates trixie "$debian" "$mirror" >"$work/debootstrap.log" ||
    { tail -5 "$work/debootstrap.log" >&2; fail 'debootstrap did not succeed'; }
  # whom this machine trusts (a company's proxy, say) is trusted in there
  cp /etc/ssl/certs/ca-certificates.crt "$debian/etc/ssl/certs/ca-certificates.crt"
  cp /etc/resolv.conf "$debian/etc/resolv.conf"
  step 'apt-get install nodejs npm, and what npm compiles with but a compiler'
  inside apt-get install -y -qq -o DPkg::Options::=--force-unsafe-io --no-install-recommends nodejs npm make python3 libnode-dev >"$work/apt.log" 2>&1 ||
    { tail -5 "$work/apt.log" >&2; fail 'apt-get did not succeed'; }
  step "the cross compiler of this machine: $(aarch64-linux-gnu-gcc --version | head -1)"
  cp -a /usr/bin/aarch64-linux-gnu-* "$debian/usr/bin"
  cp -a /usr/lib/gcc-cross "$debian/usr/lib"
  cp -a /usr/aarch64-linux-gnu "$debian/usr"
  ldd /usr/bin/aarch64-linux-gnu-{gcc,as,ld,ar} /usr/lib/gcc-cross/aarch64-linux-gnu/*/{cc1,cc1plus,collect2,lto1,lto-wrapper} |
    grep -o '/[^ :]*\.so[^ :]*' | sort -u | xargs cp -L --parents -t "$debian"
  touch "$debian/.made"
fi
mountpoint -q "$debian/proc" || mount -t proc proc "$debian/proc"
inside sh -c '. /etc/os-release; echo "$PRETTY_NAME, $(uname -m), Node $(node --version), npm $(npm --version)"'
echo "/usr/bin/node: $(file -bL "$debian/usr/bin/node" | cut -d, -f1-2)"

step 'npm install -g of the tarball'
tarball=$(node load/dist/pack-agent.js --out "$work")
cp "$tarball" "$debian/root/"
installed=/usr/local/lib/node_modules/@tidemark/agent
rm -rf "${debian:?}$installed"
inside CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++ AR=aarch64-linux-gnu-ar LINK=aarch64-linux-gnu-g++ npm_config_nodedir=/usr \
  bash -c "cd /root && time npm install -g --no-audit --no-fund ./$(basename "$tarball")"
inside sh -c "du -sh $installed | cut -f1; tidemark-agent --version"
native=$(find "$debian$installed" -path '*/build/Release/better_sqlite3.node')
[ -n "$native" ] || fail "npm did not build SQLite; it says why in $debian/root/.npm/_logs" 1
echo "${native#"$debian"}: $(file -b "$native" | cut -d, -f1-2)"
[[ $(file -b "$native") == *'ARM aarch64'* ]] || fail 'that is not arm64' 1

step 'a gateway on this machine'
node gateway/dist/cli.js start --data-dir "$work/data" --mqtt 127.0.0.1:0 --http 127.0.0.1:0 >"$work/gateway.log" 2>&1 &
gateway=$!
started+=("$gateway")
for _ in $(seq 100); do grep -q '"ready"' "$work/gateway.log" && break; sleep 0.1; done
mqtt=$(sed -n 's/.*"mqtt":"\([^"]*\)".*"ready".*/\1/p' "$work/gateway.log")
[ -n "$mqtt" ] || { cat "$work/gateway.log" >&2; fail 'the gateway did not start'; }
echo "$(uname -m), Node $(node --version), $mqtt"

# the same source for an agent there and one here, whose values the others must be
there=$debian/root/proof here=$work/here
rm -rf "$there" && mkdir "$there" "$here"
configure() {
  cat >"$1/agent.yaml" <<YAML
device_id: $2
gateway: { url: "mqtt://$mqtt" }
profile: rotating-machine
buffer: { path: buffer.sqlite }
source: { type: simulated, seed: 4, readings: $readings }
interval: 100ms
YAML
}
configure "$there" arm64
configure "$here" x86-64
node agent/dist/cli.js start --once --config "$here/agent.yaml" >"$here/agent.log" 2>&1 &
peer=$!
started+=("$peer")

step "the agent; once $killed_at readings are acked the gateway stands still, and the agent is killed with SIGKILL"
"${enter[@]}" tidemark-agent start --config /root/proof/agent.yaml >"$work/agent.log" 2>&1 &
agent=$!
started+=("$agent")
state() { inside tidemark-agent status --json --config /root/proof/agent.yaml | node -pe "JSON.parse(require('fs').readFileSync(0)).$1"; }
until [ -s "$there/buffer.sqlite" ] && [ "$(state settled)" -ge "$killed_at" ]; do
  kill -0 "$agent" 2>/dev/null || { tail -3 "$work/agent.log" >&2; fail 'the agent ended by itself' 1; }
  sleep 1
done
# what it samples from now on stays in its buffer
kill -STOP "$gateway"
sleep 3
echo "process $agent: $(tr '\0' ' ' <"/proc/$agent/cmdline")"
kill -KILL "$agent"
code=0
wait "$agent" 2>/dev/null || code=$?
kill -CONT "$gateway"
sampled=$(state sampled) buffered=$(state buffered)
echo "ended with $code: of $readings readings it had sampled $sampled and held $buffered in its buffer"
((code == 137 && sampled < readings && buffered > 0)) || fail 'it was not killed in the midst of its work' 1

step 'the agent again, to the end of its source'
inside tidemark-agent start --once --config /root/proof/agent.yaml >>"$work/agent.log" 2>&1 || { tail -3 "$work/agent.log" >&2; fail 'it did not end well' 1; }
inside tidemark-agent status --config /root/proof/agent.yaml
inside tidemark-agent doctor --config /root/proof/agent.yaml
wait "$peer" || { tail -3 "$here/agent.log" >&2; fail 'the agent of this machine did not end well' 1; }
kill -TERM "$gateway" && wait "$gateway"

step 'what the archive holds, by DuckDB'
node gateway/dist/cli.js ledger --data-dir "$work/data" || fail 'the ledger does not balance' 1
values='temperature, vibration, pressure, rpm, power_consumption, motor_current, oil_temperature, operating_hours, maintenance_flag, location'
archived=$(node gateway/dist/cli.js sql --data-dir "$work/data" --json "
  WITH arm AS (FROM readings_rotating_machine WHERE device_id = 'arm64')
  SELECT count(*)::INT AS rows, count(DISTINCT (epoch, seq))::INT AS readings, min(seq)::INT AS first, max(seq)::INT AS last,
    (SELECT count(*)::INT FROM (SELECT seq, $values FROM readings_rotating_machine WHERE device_id = 'x86-64'
      INTERSECT SELECT seq, $values FROM arm)) AS as_on_x86_64 FROM arm")
echo "$archived"
expected="[{\"rows\":$readings,\"readings\":$readings,\"first\":1,\"last\":$readings,\"as_on_x86_64\":$readings}]"
[ "$archived" = "$expected" ] || fail "NOT proved: it should be $expected" 1
echo 'proved: every reading of the arm64 agent is in the archive, once, with the values that x86-64 gives'
