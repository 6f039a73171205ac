// What some tests need of the machine, how to tell that it is missing, and what would provide it. With
// HOMEOSTAT_NO_SKIP set (CI), a test that lacks something fails instead of being skipped.
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';

export interface Capability {
  readonly name: string;
  /** Why it is missing; undefined when it is there. */
  readonly missing: () => string | undefined;
  readonly remedy: string;
}

const root = path.dirname(path.dirname(import.meta.dirname));
export const SHARED_DATA = path.join(path.dirname(root), 'shared', 'data');
export const SHARED_CASES = path.join(path.dirname(root), 'shared', 'cases');

function onPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(path.delimiter).some((d) => existsSync(path.join(d, program)));
}

export const RECORDINGS: Capability = {
  name: 'recordings of real programs',
  missing: () => (existsSync(SHARED_DATA) ? undefined : `${path.join('..', 'shared', 'data')} is absent`),
  remedy: 'put the recordings there',
};
export const CASES: Capability = {
  name: 'cases that failed once',
  missing: () => (existsSync(SHARED_CASES) ? undefined : `${path.join('..', 'shared', 'cases')} is absent`),
  remedy: 'put the cases there',
};
export const BOOTED_HOSTS: Capability = {
  name: 'real systemd hosts',
  missing: () => {
    if (process.platform !== 'linux') return 'this is not Linux';
    if (process.getuid?.() !== 0) return 'only root can boot one';
    return onPath('systemd-nspawn') ? undefined : 'systemd-nspawn is not installed';
  },
  remedy: 'sudo scripts/system-packages.sh, then sudo npm test',
};
export const ROOT: Capability = {
  name: 'root',
  missing: () => (process.getuid?.() === 0 ? undefined : 'this is not root'),
  remedy: 'sudo npm test',
};

export const EXTENDED_ATTRIBUTES: Capability = {
  name: 'extended attributes of files',
  missing: () => {
    if (process.platform !== 'linux') return 'this is not Linux';
    return onPath('python3') ? undefined : 'python3, which can set them, is not installed';
  },
  remedy: 'sudo apt-get install python3, on Linux',
};

export const PROMTOOL: Capability = {
  name: 'promtool',
  missing: () => (onPath('promtool') ? undefined : 'it is not installed'),
  remedy: 'sudo apt-get install prometheus',
};

export const OPENSSL: Capability = {
  name: 'openssl',
  missing: () => (onPath('openssl') ? undefined : 'it is not installed'),
  remedy: 'sudo apt-get install openssl',
};

export const DOCKER: Capability = {
  name: 'a Docker engine of its own',
  missing: () => {
    if (process.getuid?.() !== 0) return 'only root can run dockerd';
    const lacking = ['dockerd', 'docker', 'busybox', 'tini-static'].filter((program) => !onPath(program));
    return lacking.length === 0 ? undefined : `not installed: ${lacking.join(', ')}`;
  },
  remedy: 'sudo scripts/system-packages.sh, then sudo npm test',
};

export const COMPOSE_PLUGIN: Capability = {
  name: 'docker compose',
  missing: () => {
    // Where docker itself looks (docker/cli, cli-plugins/manager).
    const plugins = ['/usr/local/lib', '/usr/local/libexec', '/usr/lib', '/usr/libexec'].map(
      (lib) => `${lib}/docker/cli-plugins/docker-compose`,
    );
    return onPath('docker') && plugins.some(existsSync) ? undefined : 'docker has no plugin compose';
  },
  remedy: 'sudo scripts/system-packages.sh',
};

export const COMPOSE: Capability = {
  name: 'docker compose and an engine of its own',
  missing: () => DOCKER.missing() ?? COMPOSE_PLUGIN.missing(),
  remedy: DOCKER.remedy,
};

export const APT: Capability = {
  name: 'apt, and tools to make a repository',
  missing: () => {
    const programs = ['apt-get', 'apt-ftparchive', 'dpkg-deb', 'gpg'];
    const absent = programs.filter((program) => !onPath(program));
    return absent.length === 0 ? ROOT.missing() : `not installed: ${absent.join(', ')}`;
  },
  remedy: 'sudo scripts/system-packages.sh, then sudo npm test',
};

export const AMTOOL: Capability = {
  name: 'amtool',
  missing: () => (onPath('amtool') ? undefined : 'it is not installed'),
  remedy: 'sudo apt-get install prometheus-alertmanager',
};

export const NGINX: Capability = {
  name: 'nginx',
  missing: () => (onPath('nginx') ? undefined : 'it is not installed'),
  remedy: 'sudo scripts/system-packages.sh',
};

export const CAPABILITIES: readonly Capability[] = [
  RECORDINGS,
  CASES,
  BOOTED_HOSTS,
  ROOT,
  EXTENDED_ATTRIBUTES,
  PROMTOOL,
  OPENSSL,
  DOCKER,
  COMPOSE_PLUGIN,
  COMPOSE,
  AMTOOL,
  NGINX,
  APT,
];

/** Never skipped for: tests have a stand-in (test/support/grafana), and say so. */
export const GRAFANA: Capability = {
  name: 'a real Grafana',
  missing: () => {
    const { GRAFANA_URL, GRAFANA_TOKEN } = process.env;
    return GRAFANA_URL && GRAFANA_TOKEN ? undefined : 'GRAFANA_URL and GRAFANA_TOKEN name none';
  },
  remedy: 'GRAFANA_URL=http://127.0.0.1:3000 GRAFANA_TOKEN=glsa_… npm test',
};

/** Skips the test where the machine can't run it, saying why. @returns whether it can. */
export function require(t: TestContext, ...needed: Capability[]): boolean {
  for (const { name, missing, remedy } of needed) {
    const reason = missing();
    if (reason === undefined) continue;
    const sentence = `needs ${name}: ${reason}; to run it: ${remedy}`;
    if (process.env['HOMEOSTAT_NO_SKIP'] !== undefined) throw new Error(sentence);
    t.skip(sentence);
    return false;
  }
  return true;
}
