// Ways for packages, repositories and programs that check a config to do more than their grants say.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { AptArchive, type TestPackage } from '../../support/apt-archive.ts';
import { resource } from '../../support/manifest.ts';
import type { Allow, Escape, Stage } from './stage.ts';
import type { Way } from './ways.ts';

/** A repository whose owner granted it, with an honest package, and others that would run the evil program. */
async function archive(s: Stage): Promise<{ source: object; allow: Allow; name(of: string): string }> {
  fs.chmodSync(s.dir, 0o755);
  const made = new AptArchive(s.dir);
  const name = (of: string): string => `hs-${s.id}-${of}`;
  const scripts = { postinst: `touch ${s.marker}` };
  const packages: TestPackage[] = [
    { name: name('honest'), version: '1' },
    { name: name('evil'), version: '1', scripts },
    { name: name('removes'), version: '1', control: `Conflicts: ${name('honest')}` },
  ];
  made.publish(packages);
  const url = await made.serve();
  fs.writeFileSync(path.join(made.directory, 'key.asc'), made.key.armoured);
  s.after(() => made.close());
  const of = made.source(url);
  s.after(() =>
    s.sh(
      `rm -f /etc/apt/sources.list.d/${s.id}.* /etc/apt/keyrings/${s.id}.gpg; apt-get -qq -y purge 'hs-${s.id}-*' >/dev/null 2>&1; true`,
    ),
  );
  return {
    name,
    source: { ...of, name: s.id, key: { url: `${url}/key.asc`, fingerprint: made.key.fingerprint } },
    allow: {
      kinds: ['AptRepository', 'Package'],
      paths: [`/etc/apt/sources.list.d/${s.id}.sources`, `/etc/apt/keyrings/${s.id}.gpg`],
      packages: [`repository:${url}`, name('honest')],
      rootEquivalent: [`repository:${url}`],
      exec: ['apt-get'],
      urls: [url],
    },
  };
}

const installed = (name: string): boolean => fs.existsSync(`/var/lib/dpkg/info/${name}.list`);
const AFTER = { dependsOn: [{ ref: 'AptRepository/r', until: 'Ready' as const }] };

const apt = (
  name: string,
  evil: (a: { source: object; name(of: string): string }, s: Stage) => Escape['evil'],
  more: (allow: Allow) => Allow = (allow) => allow,
): Way => ({
  name,
  twin: 'Package',
  needs: 'apt',
  async escape(s) {
    const { source, allow, name: of } = await archive(s);
    const repository = resource('AptRepository', 'r', source);
    return {
      allow: more(allow),
      honest: {
        resources: [repository, resource('Package', 'p', { name: of('honest') }, AFTER)],
        works: () => assert.ok(installed(of('honest')), 'it is not installed'),
      },
      evil: evil({ source, name: of }, s),
    };
  },
});

/** A kind that checks a config with a program of the host. */
const checked = (
  name: string,
  spec: (s: Stage) => { kind: string; spec: object },
  allow: (s: Stage) => Allow,
): Way => ({
  name,
  twin: name,
  escape: (s) => ({
    allow: allow(s),
    honest: { resources: [], works: () => undefined },
    evil: {
      before() {
        s.write(s.at('prometheus.yml'), 'scrape_configs: []\n');
        s.link(s.vault, 'x');
        s.write(path.join(s.vault, 'prometheus.yml'), 'scrape_configs: []\n');
      },
      resources: [resource(spec(s).kind, 'x', spec(s).spec)],
      refusal: ['NotAllowed', 'PathLeadsElsewhere'],
    },
  }),
});

const jobs = { form: 'block', scrapeConfigs: { content: '- job_name: a\n' } };

export const programWays: readonly Way[] = [
  apt('a package that is not granted', ({ source, name }) => ({
    resources: [
      resource('AptRepository', 'r', source),
      resource('Package', 'p', { name: name('evil') }, AFTER),
    ],
  })),
  apt(
    'the removal of a package that is not granted',
    ({ source, name }, s) => ({
      before: () => s.sh('true'),
      resources: [
        resource('AptRepository', 'r', source),
        resource('Package', 'p', { name: name('removes'), mayRemove: [name('honest'), 'bash'] }, AFTER),
      ],
    }),
    (allow) => ({ ...allow, packages: [...(allow.packages ?? []), 'hs-*-removes'] }),
  ),
  apt(
    'a repository, granted but not as root-equivalent',
    ({ source }) => ({
      resources: [resource('AptRepository', 'r', source)],
    }),
    ({ rootEquivalent: _, ...allow }) => allow,
  ),
  apt('a repository of files that the manifest may write', ({ source }, s) => ({
    resources: [resource('AptRepository', 'r', { ...source, uris: [`file:${s.dir}/repository`] })],
  })),
  apt(
    'a key read by a link',
    ({ source }, s) => ({
      before: () => s.link(path.join(s.vault, 'secret'), 'key'),
      resources: [
        resource('AptRepository', 'r', {
          ...source,
          key: { file: s.at('key'), fingerprint: 'A'.repeat(40) },
        }),
      ],
    }),
    (allow) => ({ ...allow, paths: [...(allow.paths ?? []), '/srv/'] }),
  ),
  checked(
    'a program that checks an Alloy config',
    (s) => ({
      kind: 'AlloyConfig',
      spec: { path: s.at('config.alloy'), content: '//\n', binary: s.evil, manager: 'none' },
    }),
    (s) => ({
      kinds: ['AlloyConfig'],
      paths: [`${s.dir}/`],
      exec: ['alloy'],
      urls: ['http://127.0.0.1:12345'],
    }),
  ),
  checked(
    'an Alloy config below a link',
    (s) => ({
      kind: 'AlloyConfig',
      spec: { path: s.at('x/secret'), content: '//\n', binary: s.honest, manager: 'none' },
    }),
    (s) => ({
      kinds: ['AlloyConfig'],
      paths: [`${s.dir}/`],
      exec: [s.honest],
      urls: ['http://127.0.0.1:12345'],
    }),
  ),
  checked(
    'a program that checks a Prometheus config',
    (s) => ({ kind: 'PrometheusConfig', spec: { path: s.at('prometheus.yml'), promtool: s.evil, ...jobs } }),
    (s) => ({
      kinds: ['PrometheusConfig'],
      paths: [`${s.dir}/`],
      exec: ['promtool'],
      urls: ['http://127.0.0.1:9090'],
    }),
  ),
  checked(
    'a Prometheus config below a link',
    (s) => ({
      kind: 'PrometheusConfig',
      spec: { path: s.at('x/prometheus.yml'), promtool: '/bin/true', ...jobs },
    }),
    (s) => ({
      kinds: ['PrometheusConfig'],
      paths: [`${s.dir}/`],
      exec: ['/bin/true'],
      urls: ['http://127.0.0.1:9090'],
    }),
  ),
];
