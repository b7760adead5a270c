#!/usr/bin/env bash
# Boots the systemd of this machine as process 1 of a container: this machine's files under an overlay in memory, no units of its own,
# its network. Becomes systemd; the caller ends it by killing what unshared. Usage: boot-machine.sh FOLDER (an empty one)
set -euo pipefail

if [ "${2:-}" = '' ]; then
  # a cgroup of its own, in which the systemd is at the top
  for hierarchy in /sys/fs/cgroup/unified /sys/fs/cgroup; do
    [ -e "$hierarchy/cgroup.procs" ] && grep -q "^[^ ]* $hierarchy cgroup2 " /proc/mounts && break
  done
  cgroup="$hierarchy/$(basename "$1")"
  mkdir "$cgroup"
  echo $$ >"$cgroup/cgroup.procs"
  echo "$cgroup" >"$1/cgroup"
  exec unshare --mount --pid --fork --cgroup --ipc --uts --kill-child=SIGKILL "$0" "$1" inside
fi

root="$1/root"
mount --make-rprivate /
mkdir "$1/memory" "$root"
mount -t tmpfs tmpfs "$1/memory"
mkdir "$1/memory/upper" "$1/memory/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/memory/upper,workdir=$1/memory/work" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for folder in dev run tmp var/log/journal etc/systemd/system; do
  mkdir -p "$root/$folder"
  mount -t tmpfs -o mode=755 tmpfs "$root/$folder"
done
chmod 1777 "$root/tmp"
for node in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
  read -r name major minor <<<"$node"
  mknod -m 666 "$root/dev/$name" c "$major" "$minor"
done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue" "$root/dev/hugepages"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs tmpfs "$root/dev/shm"
exec chroot "$root" /usr/bin/env -i container=tidemark-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  "$(readlink -f /lib/systemd/systemd)" --log-target=journal --unit=basic.target
