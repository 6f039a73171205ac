/**
 * A real Docker engine in a host of the lab, as its own service. There is no registry: images are made in the host, of
 * busybox and of programs that are there anyway. Unless it is asked for one it has no bridge, and containers share the
 * host's network.
 */
import type { LabHost } from './host.ts';

/** What runc needs beyond what systemd-nspawn grants (systemd-nspawn(1), --system-call-filter, --capability). */
export const DOCKER_ARGUMENTS: readonly string[] = [
  '--system-call-filter=add_key keyctl bpf',
  '--capability=CAP_SYS_ADMIN,CAP_SYS_PTRACE,CAP_BPF',
];

/** Overlays don't stack on the overlay that is a lab host's disk. */
const DOCKERD = ['dockerd', '--storage-driver=vfs', '--iptables=false', '--ip6tables=false'];

export async function startDocker(host: LabHost, { bridge = false } = {}): Promise<void> {
  await host.exec(['mount', '--make-rshared', '/'], { check: true });
  const network = bridge ? '--bip=198.18.250.1/24' : '--bridge=none';
  await host.start([...DOCKERD, network], {
    unit: 'lab-docker',
    properties: ['Delegate=yes', 'KillMode=mixed'],
  });
  await host.exec(['sh', '-c', 'until docker version >/dev/null 2>&1; do sleep 0.1; done'], {
    check: true,
    timeout: 60_000,
  });
}

export interface ImageContents {
  /** Programs of the host by absolute path; the libraries that they are linked with come along. */
  readonly programs?: readonly string[];
  /** More files by absolute path, executable. */
  readonly files?: Readonly<Record<string, string>>;
  readonly directories?: readonly string[];
  /** Instructions of a Dockerfile, as `ENTRYPOINT ["/bin/x"]`. */
  readonly changes?: readonly string[];
}

const APPLETS = 'sh sleep cat echo wget httpd mkdir grep nc true touch ls env head tail';

const SCRIPT = `set -eu
dir=$1; shift
mkdir -p "$dir/bin" "$dir/etc" "$dir/tmp" "$dir/usr/bin"
cp /bin/busybox "$dir/bin/"
for applet in ${APPLETS}; do ln -sf busybox "$dir/bin/$applet"; done
ln -sf /bin/env "$dir/usr/bin/env"
echo 'root:x:0:0:root:/:/bin/sh' >"$dir/etc/passwd"
for program; do
  for file in "$program" $(ldd "$program" | grep -o '/[^ ]*'); do
    mkdir -p "$dir$(dirname "$file")"
    cp -L "$file" "$dir$file"
  done
done`;

/** @param reference a tag, as the manifests name the image. */
export async function importImage(
  host: LabHost,
  reference: string,
  { programs = [], files = {}, directories = [], changes = [] }: ImageContents,
): Promise<void> {
  const directory = `/var/tmp/image-${reference.replace(/[^a-z0-9]/g, '-')}`;
  await host.exec(['sh', '-c', SCRIPT, 'sh', directory, ...programs], { check: true });
  for (const [file, content] of Object.entries(files)) await host.writeFile(directory + file, content, '755');
  for (const each of directories) await host.exec(['mkdir', '-p', directory + each], { check: true });
  const options = changes.flatMap((change) => ['--change', change]);
  const pipe = 'dir=$1; ref=$2; shift 2; tar -C "$dir" -c . | docker import "$@" - "$ref" && rm -rf "$dir"';
  await host.exec(['sh', '-c', pipe, 'sh', directory, reference, ...options], {
    check: true,
    timeout: 120_000,
  });
}

export async function docker(host: LabHost, ...args: string[]): Promise<string> {
  return (await host.exec(['docker', ...args], { check: true, timeout: 60_000 })).stdout.trim();
}

/** The process of a container, as the host numbers it; a container that was recreated has another. */
export async function processOf(host: LabHost, container: string): Promise<string> {
  return docker(host, 'inspect', '--format', '{{.State.Pid}} {{.Id}}', container);
}
