// Grafana on the Mac Mini, as the stand-in plays it (a real one can't be had here), and what must hold of its
// dashboards: the four are there, and come back when somebody deletes or edits them.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../../api/json.ts';
import { RECORDINGS, SHARED_DATA } from '../support/capabilities.ts';
import { repo } from './binaries.ts';
import type { LabHost } from './host.ts';

const TOKEN_FILE = '/etc/homeostat/grafana.token';
const URL = 'http://127.0.0.1:3000';
const OURS = 'ollama-ocasia-001';
/** Of grafana.com, from which nothing is fetched: the controller is given the recordings. */
const DOWNLOADED: readonly string[] = [
  'rYdddlPWk',
  'tailscale-mixin-over-k12e',
  'tailscaled-mixin-over-k12e',
];
const RECORDED = join(SHARED_DATA, 'dashboards');

const haveRecordings = existsSync(RECORDED);
const DASHBOARDS = haveRecordings ? [...DOWNLOADED, OURS] : [OURS];

/** What this clone can't do, and what would make it possible; undefined when it can do everything. */
export const leftOut = haveRecordings
  ? undefined
  : `three of the four dashboards are left out: ${RECORDINGS.missing() ?? `${RECORDED} is absent`}; ${RECORDINGS.remedy}`;

/** @returns manifests/grafana/dashboards.yaml without the documents that have something downloaded. */
export function withoutDownloaded(yaml: string): string {
  return yaml
    .split(/^---$/m)
    .filter((document) => !/^ {2}grafanaCom:$/m.test(document))
    .join('---');
}

const SOURCES = [
  ['prometheus', 9090],
  ['loki', 3100],
] as const;

export async function installGrafana(host: LabHost): Promise<void> {
  const node = join(repo, 'node_modules', 'node', 'bin', 'node');
  const program = join(repo, 'test', 'support', 'grafana', 'serve.ts');
  await host.exec(['mkdir', '-p', '/etc/homeostat'], { check: true });
  // Its data sources, by the names that they have in the compose network. A real Prometheus takes the place of one later.
  await host.exec(['sh', '-c', 'echo 127.0.0.1 prometheus loki >> /etc/hosts'], { check: true });
  for (const [name, port] of SOURCES) {
    const answer = `require('http').createServer((_, r) => r.end('{}')).listen(${port}, '127.0.0.1')`;
    await host.start([node, '--eval', answer], { unit: `lab-${name}` });
  }
  await host.start([node, program, '3000', TOKEN_FILE], { unit: 'lab-grafana' });
}

/** The dashboards of grafana.com, where a controller without a way out looks for them. */
export async function fillDownloads(host: LabHost, stateDirectory: string): Promise<void> {
  if (!haveRecordings) return;
  for (const name of readdirSync(RECORDED)) {
    const bytes = readFileSync(join(RECORDED, name));
    await host.writeFile(`${stateDirectory}/downloads/${sha256(bytes)}`, bytes);
  }
  await host.exec(['chown', '-R', 'homeostat-controller:', stateDirectory], { check: true });
}

async function curl(host: LabHost, method: string, path: string, body?: unknown) {
  // The token and the body stay out of the argument list.
  const script = `curl -fsS -X "$1" -H "Authorization: Bearer $(cat ${TOKEN_FILE})" $3 "$2"`;
  const data = body === undefined ? '' : '--json @-';
  const { stdout, exitCode } = await host.exec(['sh', '-c', script, 'sh', method, `${URL}${path}`, data], {
    ...(body === undefined ? {} : { input: JSON.stringify(body) }),
  });
  return exitCode === 0 ? (JSON.parse(stdout) as Record<string, Record<string, unknown>>) : undefined;
}

const at = (uid: string) => `/api/dashboards/uid/${uid}`;

export async function missingDashboards(host: LabHost): Promise<string[]> {
  const found = await Promise.all(DASHBOARDS.map((uid) => curl(host, 'GET', at(uid))));
  return DASHBOARDS.filter((_, i) => found[i] === undefined);
}

/** Somebody deletes one, where there are several, and edits another. @returns whether both are as they were. */
export async function spoilDashboards(host: LabHost): Promise<() => Promise<boolean>> {
  const [deleted, edited] = [DASHBOARDS.find((uid) => uid !== OURS), OURS];
  const { dashboard, meta } = (await curl(host, 'GET', at(edited)))!;
  const { title } = dashboard!;
  const change = { dashboard: { ...dashboard, title: 'Edited by hand' }, folderUid: meta!['folderUid'] };
  assert.ok(await curl(host, 'POST', '/api/dashboards/db', change));
  if (deleted !== undefined) assert.ok(await curl(host, 'DELETE', at(deleted)));
  return async () => {
    const now = await curl(host, 'GET', at(edited));
    return now?.['dashboard']?.['title'] === title && (await missingDashboards(host)).length === 0;
  };
}
