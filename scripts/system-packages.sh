#!/bin/bash
# Makes a Debian 12 machine able to run the lab (test/lab) and the suites that
# build on it: Debian packages, then tailscaled, tailscale, docker compose and the
# lab's control server, built with Go into a cache. Run as root, as often as you like: what is
# there already is left alone, and then no network is needed.
#
# HOMEOSTAT_LAB_CACHE is where the built programs go; test/lab/binaries.ts looks
# in the same place and must agree with the names used here.
set -euo pipefail

tailscale_version=v1.98.9 # the one that test/lab/control/go.mod pins
compose_version=v2.40.3   # Debian's docker-compose is the first version, another program
compose_plugins=/usr/local/lib/docker/cli-plugins
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${HOMEOSTAT_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/homeostat-lab}

packages=(
  systemd systemd-sysv systemd-container dbus # the hosts, and what boots them
  iproute2 iptables procps util-linux         # namespaces, veth pairs, nsenter, setpriv
  prometheus prometheus-alertmanager          # promtool, the receiver of remote write, the alarms
  prometheus-node-exporter                    # the lean profile
  nginx                                       # the gateway of deploy/docker
  docker.io containerd runc                   # containers
  busybox-static tini                         # what test images are made of: no registry is reachable
  apt-utils gnupg dpkg-dev                    # a signed repository, made for its test
  ca-certificates curl git                    # Go modules, probes from inside a host, sources of manifests
)

leftovers=()
trap 'rm -rf -- "${leftovers[@]}"' EXIT

say() { printf 'system-packages: %s\n' "$*" >&2; }

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done

if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ]; then
    say "must be root to install: ${missing[*]}"
    exit 1
  fi
  say "installing ${missing[*]}"
  # Without systemd as PID 1 a package's maintainer script may start its daemon
  # by hand. Nothing is to start on this machine, only in the lab's hosts.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    leftovers+=(/usr/sbin/policy-rc.d)
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt=(apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 --quiet=2 --yes)
  "${apt[@]}" update >&2
  "${apt[@]}" --no-install-recommends install "${missing[@]}" >&2
fi

tailscale_dir=$cache/tailscale-$tailscale_version
# Named by its sources, so that checkouts with different ones can share a cache.
control_sources=("$repo"/test/lab/control/{main.go,go.mod,go.sum})
compose_dir=$cache/compose-$compose_version
control_dir=$cache/control-$(cat "${control_sources[@]}" | sha256sum | cut --characters=1-16)

# Where every Docker client of this machine looks for it, and every host of the lab.
link_compose() {
  if [ "$(id -u)" -eq 0 ] && [ ! -x "$compose_plugins/docker-compose" ]; then
    mkdir -p "$compose_plugins"
    install -m 755 "$compose_dir/docker-compose" "$compose_plugins/docker-compose"
  fi
}

if [ -x "$tailscale_dir/tailscaled" ] && [ -x "$tailscale_dir/tailscale" ] && [ -x "$control_dir/control" ] &&
  [ -x "$compose_dir/docker-compose" ]; then
  link_compose
  say "everything is there"
  exit 0
fi
if ! command -v go >/dev/null; then
  say "no \`go\` on PATH: tailscaled, tailscale, docker compose and the lab's control server can't be built (Go 1.26 or newer is needed)"
  exit 1
fi

mkdir -p "$cache"
build=$(mktemp --directory "$cache/.build-XXXXXX")
leftovers+=("$build")
# A directory appears in the cache complete or not at all: two runs at once do
# the work twice and no harm.
publish() {
  chmod 755 "$1"
  rm -rf "$2"
  mv --no-target-directory "$1" "$2" || [ -d "$2" ]
}

if [ ! -x "$tailscale_dir/tailscaled" ] || [ ! -x "$tailscale_dir/tailscale" ]; then
  say "building tailscaled and tailscale $tailscale_version (minutes, the first time)"
  GOBIN=$build/tailscale go install "tailscale.com/cmd/tailscaled@$tailscale_version" "tailscale.com/cmd/tailscale@$tailscale_version"
  publish "$build/tailscale" "$tailscale_dir"
fi
if [ ! -x "$compose_dir/docker-compose" ]; then
  say "building docker compose $compose_version (minutes, the first time)"
  # Its go.mod has exclude directives, with which `go install …@version` refuses to build it: from its sources then.
  sources=$(go mod download -json "github.com/docker/compose/v2@$compose_version" | sed --quiet 's/^\t"Dir": "\(.*\)",$/\1/p')
  cp --recursive --no-preserve=mode "$sources" "$build/compose-sources"
  mkdir "$build/compose"
  (cd "$build/compose-sources" &&
    go build -trimpath -ldflags "-X github.com/docker/compose/v2/internal.Version=$compose_version" \
      -o "$build/compose/docker-compose" ./cmd)
  publish "$build/compose" "$compose_dir"
fi
link_compose
if [ ! -x "$control_dir/control" ]; then
  say "building the lab's control server"
  mkdir "$build/control"
  (cd "$repo/test/lab/control" && go build -mod=readonly -o "$build/control/control" .)
  publish "$build/control" "$control_dir"
fi
say "built into $cache"
