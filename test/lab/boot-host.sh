#!/bin/sh
# Prepares the file system of a lab host and boots systemd in it. Run by host.ts
# in fresh mount, pid and network namespaces, so whatever is mounted or started
# here is gone when the process is. See host.ts for the conversation on
# standard input and output.
#
# Usage: boot-host.sh DIRECTORY NAME CGROUP NSPAWN-ARGUMENT...
#   DIRECTORY/disk     upper layer of the host's file system, kept over reboots
#   DIRECTORY/files    what to put into a new host: INDEX files named in files.list,
#                      one "INDEX MODE PATH" a line
#   DIRECTORY/signals  visible in the host as /run/hs-lab
#   DIRECTORY/console.log  what this script, nspawn and the host's console print
set -eu
directory=$1 name=$2 cgroup=$3
shift 3
exec 3>&1 >"$directory/console.log" 2>&1
root=$directory/root
system=$root/etc/systemd/system

# A cgroup of its own: nspawn boots the payload below the cgroup that it is in
# itself, and two hosts in one cgroup would kill each other's services.
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
  [ -e "$hierarchy/cgroup.procs" ] || continue
  mkdir -p "$hierarchy/$cgroup"
  echo 0 >"$hierarchy/$cgroup/cgroup.procs"
done

# An upper layer can't be an overlay itself, as the root of a Docker container
# is. Such a host loses its disk when it is switched off.
mkdir -p "$directory/disk" "$root"
[ "$(stat --file-system --format=%T "$directory/disk")" != overlayfs ] || mount -t tmpfs lab "$directory/disk"
new=false
[ -e "$directory/disk/upper" ] || new=true
mkdir -p "$directory/disk/upper" "$directory/disk/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$directory/disk/upper,workdir=$directory/disk/work" "$root"

fresh_install() {
  # Nothing that this machine enabled or configured for itself starts in the
  # host: postgresql, timers, mounts.
  rm -rf "$system"
  mkdir -p "$system/multi-user.target.wants" "$root/etc/systemd/system-generators" "$root/etc/systemd/system.conf.d"
  ln -s /lib/systemd/system/multi-user.target "$system/default.target"
  ln -s /dev/null "$root/etc/systemd/system-generators/systemd-sysv-generator"
  # What Debian's packages enable without asking, and a host of the lab has no
  # use for: nobody logs in to it.
  for unit in systemd-logind.service getty.target console-getty.service; do
    ln -s /dev/null "$system/$unit"
  done

  # Programs and state of the managed software that may be on this machine.
  rm -rf "$root"/etc/alloy "$root"/var/lib/alloy "$root"/etc/homeostat "$root"/var/lib/homeostat \
    "$root"/var/lib/tailscale "$root"/etc/default/tailscaled "$root"/var/log/journal
  mkdir -p "$root/var/log/journal" # so that the journal outlives a reboot

  # apt works, but knows no source that couldn't be reached; and a container
  # image's ban on starting services at installation doesn't hold in a host.
  rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d "$root"/var/lib/apt/lists "$root"/usr/sbin/policy-rc.d
  mkdir -p "$root/etc/apt/sources.list.d" "$root/var/lib/apt/lists/partial"
  echo 'Acquire::http::Proxy "DIRECT";' >"$root/etc/apt/apt.conf.d/zz-hs-lab"

  # Replaced rather than written to: each may be a symlink on this machine.
  rm -f "$root/etc/machine-id" "$root/etc/hostname" "$root/etc/hosts" "$root/etc/resolv.conf"
  : >"$root/etc/machine-id" # empty, not absent: a new id, without a first boot's questions
  # systemd would take the id of this machine from here, for every host the same.
  mkdir -p "$root/var/lib/dbus"
  ln -sf /etc/machine-id "$root/var/lib/dbus/machine-id"
  : >"$root/etc/resolv.conf"
  echo "$name" >"$root/etc/hostname"
  printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >"$root/etc/hosts"

  # Debian's own tmp.conf empties /tmp at boot, with whatever is bind-mounted there.
  echo 'd /tmp 1777 root root -' >"$root/etc/tmpfiles.d/tmp.conf"

  cat >"$system/hs-lab-ready.service" <<'UNIT'
[Unit]
Description=Tells the lab that this host is up
After=dbus.socket

[Service]
Type=oneshot
ExecStart=/bin/touch /run/hs-lab/ready
UNIT
  ln -s ../hs-lab-ready.service "$system/multi-user.target.wants/hs-lab-ready.service"

  # Written from inside the new root, or an absolute symlink on the way
  # (/var/run) would lead out of it, on to this machine.
  while read -r index mode path; do
    chroot "$root" /bin/sh -c 'mkdir -p "$(dirname "$2")" && cat >"$2" && chmod "$1" "$2"' sh "$mode" "$path" \
      <"$directory/files/$index"
  done <"$directory/files/files.list"
}
[ "$new" = false ] || fresh_install

# nspawn keeps a directory per machine in /run, and needs a name for the
# network namespace that survives its change of root.
mkdir -p /run/systemd
mount -t tmpfs lab /run/systemd
: >/run/systemd/network-namespace
mount --bind /proc/self/ns/net /run/systemd/network-namespace

echo prepared >&3
exec 3>&-
read -r _ # the host's network is attached now

# Unified cgroups inside whatever this machine has: as on today's distributions,
# and with v1 in a container systemd isn't told when a service's last process ends.
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
exec systemd-nspawn --quiet --boot --directory="$root" --machine="$name" --register=no --keep-unit \
  --network-namespace-path=/run/systemd/network-namespace --capability=CAP_NET_ADMIN --bind=/dev/net/tun \
  --bind="$directory/signals:/run/hs-lab" --resolv-conf=off --timezone=off --console=pipe "$@" </dev/null
