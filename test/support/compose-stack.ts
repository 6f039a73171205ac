// A monitoring stack as a person keeps it: a long, commented, hand-indented compose file on a real engine with a real
// `docker compose`. The programs in it are stand-ins that only run; they end when they get the flag --bad, and say why.
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import type { TestEngine } from './dockerd.ts';

const run = promisify(execFile);

export const IMAGE = 'stack/service:1';

/** An image whose program runs until it is told to stop, whatever its arguments. */
export async function stackImage(engine: TestEngine, reference = IMAGE): Promise<void> {
  const program = `#!/bin/sh
for argument in "$@"; do
  if [ "$argument" = --bad ]; then echo "Error: unknown flag --bad" >&2; exit 2; fi
done
exec sleep 100000
`;
  const changes = ['ENTRYPOINT ["/sbin/tini", "--", "/bin/serve"]', 'CMD ["--from-the-image=$HOME"]'];
  await engine.image(reference, changes, { 'bin/serve': program });
}

/** A stand-in for Prometheus's program, as that has it of kingpin: a flag that is said twice ends it. */
export const FLAGS_ONCE = `#!/bin/sh
seen=
for word in "$@"; do
  case "$word" in --*) ;; *) continue ;; esac
  flag=\${word%%=*}
  case " $seen " in *" $flag "*)
    echo "Error parsing command line arguments: flag '\${flag#--}' cannot be repeated" >&2
    exit 1
  esac
  seen="$seen $flag"
done
exec sleep 100000
`;

/** Their compose file; `prometheus` is what stands below its `command:`. */
export const composeFile = (
  prometheus = DEFAULT_COMMAND,
  more = '',
): string => `# Monitoring, by hand since 2023.
#
#   up:    docker compose up -d
#   down:  please don't

x-defaults: &defaults          # for all of them
    restart: "no"
    network_mode: none

services:

    # ----- metrics -------------------------------------------------
    prometheus:
        <<: *defaults
        image: ${IMAGE}
        command:${prometheus}
        labels:
            - "kept.by=hand"   # a list, since 2023

    # ----- dashboards ----------------------------------------------
    grafana:
        <<: *defaults
        image:    ${IMAGE}
        environment: { GF_LOG_LEVEL: warn }


    # left as it is
    loki: { <<: *defaults, image: ${IMAGE} }
${more}
# the end`;

const DEFAULT_COMMAND = `
            - --config.file=/etc/prometheus/prometheus.yml
            # not interpolated: $HOME of the container
            - "--home=$$HOME"
            - --storage.tsdb.retention.time=\${RETENTION:-15d}`;

/** One project in a directory of its own, as its owner uses it. */
export class Stack {
  readonly engine: TestEngine;
  readonly directory: string;
  readonly project: string;

  constructor(engine: TestEngine, directory: string, project: string) {
    this.engine = engine;
    this.directory = directory;
    this.project = project;
    fs.mkdirSync(directory, { recursive: true });
  }

  write(name: string, text: string): void {
    fs.mkdirSync(path.dirname(path.join(this.directory, name)), { recursive: true });
    fs.writeFileSync(path.join(this.directory, name), text);
  }

  read(name: string): string {
    return fs.readFileSync(path.join(this.directory, name), 'utf8');
  }

  has(name: string): boolean {
    return fs.existsSync(path.join(this.directory, name));
  }

  /** What the owner types in the directory. @returns stdout */
  async compose(...args: string[]): Promise<string> {
    const env = { ...process.env, DOCKER_HOST: this.engine.address, DOCKER_CONFIG: this.engine.directory };
    const { stdout } = await run('docker', ['compose', '--progress=quiet', ...args], {
      env,
      cwd: this.directory,
    });
    return stdout;
  }

  /** By service: id and state of each container of the project, and what it was started with. */
  async containers(): Promise<Record<string, StackContainer>> {
    const label = `label=com.docker.compose.project=${this.project}`;
    const ids = (await this.engine.docker('ps', '--all', '--quiet', '--filter', label))
      .split('\n')
      .filter(Boolean);
    if (ids.length === 0) return {};
    const found = JSON.parse(await this.engine.docker('inspect', ...ids)) as Inspected[];
    return Object.fromEntries(
      found.map(({ Id, State, Config }) => [
        Config.Labels['com.docker.compose.service']!,
        { id: Id, state: State.Status, command: Config.Cmd, env: Config.Env, labels: Config.Labels },
      ]),
    );
  }

  /** Names of all containers of the project. */
  async names(): Promise<string[]> {
    const label = `label=com.docker.compose.project=${this.project}`;
    const names = await this.engine.docker('ps', '--all', '--filter', label, '--format', '{{.Names}}');
    return names.split('\n').filter(Boolean).sort();
  }

  /** Ends all of it, whatever the files say. */
  async destroy(): Promise<void> {
    const names = await this.names();
    if (names.length > 0) await this.engine.docker('rm', '--force', '--volumes', ...names);
  }
}

export interface StackContainer {
  readonly id: string;
  readonly state: string;
  readonly command: readonly string[] | null;
  readonly env: readonly string[] | null;
  readonly labels: Readonly<Record<string, string>>;
}
interface Inspected {
  readonly Id: string;
  readonly State: { readonly Status: string };
  readonly Config: {
    readonly Cmd: string[] | null;
    readonly Env: string[] | null;
    readonly Labels: Record<string, string>;
  };
}
