// Ways out of a directory that a manifest may write to, and to what it may read.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { resource } from '../../support/manifest.ts';
import type { Escape, Stage } from './stage.ts';
import type { Way } from './ways.ts';

const file = (name: string, spec: object) => resource('File', name, spec);

/** Files below the stage's directory, as its owner wants them. */
function twin(s: Stage, evil: Escape['evil'], more: Escape['allow'] = {}): Escape {
  return {
    allow: {
      kinds: ['File'],
      paths: [`${s.dir}/`],
      ...more,
      secrets: [`${s.at('secrets')}/`, ...(more.secrets ?? [])],
    },
    honest: {
      before: () => s.write(s.at('secrets/own'), 'mine\n'),
      resources: [
        file('f', { path: s.at('sub/f'), content: 'public\n' }),
        file('l', { type: 'symlink', path: s.at('l'), target: s.at('sub/f') }),
        file('s', { path: s.at('s'), content: { secretFrom: { file: s.at('secrets/own') } } }),
      ],
      works() {
        assert.equal(fs.readFileSync(s.at('l'), 'utf8'), 'public\n');
        assert.equal(fs.readFileSync(s.at('s'), 'utf8'), 'mine');
      },
    },
    evil,
  };
}

const leadsNowhere = (place: string) => (): void =>
  assert.ok(!fs.lstatSync(place, { throwIfNoEntry: false })?.isSymbolicLink(), `${place} is a link now`);

const linked = (name: string, target: (s: Stage) => string): Way => ({
  name,
  twin: 'File',
  escape: (s) =>
    twin(s, {
      resources: [file('x', { type: 'symlink', path: s.at('x'), target: target(s) })],
      safe: leadsNowhere(s.at('x')),
    }),
});

const throughLink = (name: string, make: (s: Stage) => void, more: Partial<Escape['evil']> = {}): Way => ({
  name,
  twin: 'File',
  escape: (s) =>
    twin(s, {
      before: () => make(s),
      resources: [file('x', { path: s.at('x/secret'), content: 'overwritten\n' })],
      ...more,
    }),
});

const swappedLink = (at: 'prepare' | 'apply'): Way => ({
  name: `a directory swapped for a link ${at === 'prepare' ? 'after it was judged' : 'just before it is written to'}`,
  twin: 'File',
  escape: (s) =>
    twin(s, {
      before: () => fs.mkdirSync(s.at('x')),
      resources: [file('x', { path: s.at('x/secret'), content: 'overwritten\n' })],
      swap: { at, do: () => s.link(s.vault, 'x') },
      // Its rollback leads out as well, and is refused too.
      refusal: ['NotAllowed', 'PathLeadsElsewhere', 'UndoFailing'],
    }),
});

/** A second name, in the allowed directory, of a file that it must not touch. */
const hardLinked = (name: string, spec: object, of = 'secret', more: Escape['allow'] = {}): Way => ({
  name,
  twin: 'File',
  escape: (s) =>
    twin(
      s,
      {
        before() {
          s.write(path.join(s.vault, 'known'), 'known\n');
          fs.chmodSync(path.join(s.vault, 'known'), 0o600);
          fs.linkSync(path.join(s.vault, of), s.at('x'));
        },
        resources: [file('x', { path: s.at('x'), ...spec })],
        // A new file may take its place, which leaves the other one as it is.
        refusal: ['NotAllowed', 'HardLinked', ''],
      },
      more,
    ),
});

const EVERYWHERE = { paths: ['/'] };

const own = (
  name: string,
  before: ((s: Stage) => unknown) | undefined,
  place: (s: Stage) => string,
): Way => ({
  name,
  twin: 'File, everywhere',
  escape: (s) =>
    twin(
      s,
      {
        ...(before === undefined ? {} : { before: () => before(s) }),
        resources: [file('x', { path: place(s), content: 'replaced\n' })],
        refusal: ['NotAllowed', 'AgentsOwn'],
        safe: () => assert.ok(!fs.existsSync(path.join(s.state, 'more')), 'it wrote beside the agent’s key'),
      },
      EVERYWHERE,
    ),
});

const secret = (
  name: string,
  before: (s: Stage) => unknown,
  place: (s: Stage) => string,
  more = {},
): Way => ({
  name,
  twin: 'File',
  escape: (s) =>
    twin(
      s,
      {
        before: () => {
          fs.mkdirSync(s.at('secrets'), { recursive: true });
          return before(s);
        },
        resources: [file('x', { path: s.at('out'), content: { secretFrom: { file: place(s) } } })],
        safe: () => assert.ok(!fs.existsSync(s.at('out')), 'it was written out'),
      },
      more,
    ),
});

export const fileWays: readonly Way[] = [
  linked('a link to what is not granted', (s) => s.vault),
  linked('a relative link that climbs out', (s) => `../../etc/canary-${s.id}`),
  linked('a link to the root', () => '/'),
  linked('a link by /proc/self/root', (s) => `/proc/self/root${s.vault}`),
  throughLink('a file below a link that leads out', (s) => s.link(s.vault, 'x')),
  throughLink('a file below a link to a link that leads out', (s) => {
    s.link(s.vault, 'y');
    s.link('y', 'x');
  }),
  throughLink('a file below /proc/self/root', (s) => s.link(`/proc/self/root${s.vault}`, 'x')),
  {
    name: 'a link and a file below it in one manifest',
    twin: 'File',
    escape: (s) =>
      twin(s, {
        resources: [
          file('x', { type: 'symlink', path: s.at('x'), target: s.vault }),
          resource(
            'File',
            'y',
            { path: s.at('x/secret'), content: 'overwritten\n' },
            {
              dependsOn: [{ ref: 'File/x', until: 'Applied' }],
            },
          ),
        ],
        safe: leadsNowhere(s.at('x')),
      }),
  },
  {
    name: 'a directory below a link that leads out',
    twin: 'File',
    escape: (s) =>
      twin(s, {
        before: () => s.link(s.vault, 'x'),
        resources: [file('x', { type: 'directory', path: s.at('x/sub'), mode: '0777' })],
      }),
  },
  {
    name: '".." in a path',
    twin: 'File',
    escape: (s) =>
      twin(s, {
        resources: [file('x', { path: `${s.dir}/../../etc/canary-${s.id}/secret`, content: 'x' })],
        refusal: ['Unsupported', 'NotAllowed'],
      }),
  },
  swappedLink('prepare'),
  swappedLink('apply'),
  hardLinked('a hard link, rewritten in place', { content: 'overwritten\n', inPlace: true }),
  hardLinked('a hard link, and its mode', { content: 'known\n', mode: '0666' }, 'known'),
  hardLinked('a hard link, and its owner', { content: 'known\n', owner: '65534' }, 'known', {
    users: ['65534'],
  }),
  {
    name: 'removal through a link',
    twin: 'File',
    escape: (s) =>
      twin(s, {
        resources: [
          file('x', { path: s.at('x/secret'), content: 'ours\n' }),
          file('y', { path: s.at('y'), content: 'stays\n' }),
          file('z', { path: s.at('z'), content: 'stays\n' }),
        ],
        afterwards: {
          before: () => s.link(s.vault, 'x'),
          resources: ['y', 'z'].map((name) => file(name, { path: s.at(name), content: 'stays\n' })),
        },
        refusal: [''],
      }),
  },
  own('the agent’s key, with every path granted', undefined, (s) => s.key),
  own('beside the agent’s key, with every path granted', undefined, (s) => path.join(s.state, 'more')),
  own(
    'the agent’s state by a link',
    (s) => s.link(s.state, 'x'),
    (s) => s.at('x/more'),
  ),
  own(
    'the agent’s state by a bind mount',
    async (s) => {
      fs.mkdirSync(s.at('x'));
      await s.sh(`mount --bind ${s.state} ${s.at('x')}`);
      s.after(() => s.sh(`umount -l ${s.at('x')}`));
    },
    (s) => s.at('x/more'),
  ),
  own('the agent’s configuration', undefined, () => '/etc/homeostat/agent.json'),
  own('the agent’s socket', undefined, (s) => s.socket),
  {
    name: 'setuid without its grant',
    twin: 'File',
    escape: (s) =>
      twin(s, {
        resources: [file('x', { path: s.at('x'), content: '#!/bin/sh\n', mode: '4755' })],
        safe: () => assert.ok(!fs.existsSync(s.at('x')), 'it is there'),
      }),
  },
  {
    name: 'another owner without its grant',
    twin: 'File',
    escape: (s) => twin(s, { resources: [file('x', { path: s.at('x'), content: 'x', owner: 'nobody' })] }),
  },
  secret(
    'a secret’s file that is not granted',
    () => undefined,
    (s) => path.join(s.vault, 'secret'),
  ),
  secret(
    'a secret’s file by a link',
    (s) => s.link(path.join(s.vault, 'secret'), 'secrets/x'),
    (s) => s.at('secrets/x'),
  ),
  secret(
    'a secret’s file in a linked directory',
    (s) => s.link(s.vault, 'secrets'),
    (s) => s.at('secrets/secret'),
  ),
  secret(
    'a secret’s file with ".."',
    () => undefined,
    (s) => `${s.dir}/secrets/../../../etc/canary-${s.id}/secret`,
  ),
  secret(
    'the agent’s key as a secret',
    () => undefined,
    (s) => s.key,
    { secrets: ['/'] },
  ),
  secret(
    'the agent’s key as a secret, by a hard link',
    (s) => {
      // /srv and /var may be one file system or two; the key's own directory is the one where it surely can be linked.
      fs.linkSync(s.key, `/var/lib/other-${s.id}`);
      s.after(() => fs.rmSync(`/var/lib/other-${s.id}`));
    },
    (s) => `/var/lib/other-${s.id}`,
    { secrets: ['/'] },
  ),
  secret(
    'the agent’s environment as a secret’s file',
    () => undefined,
    () => '/proc/self/environ',
    { secrets: ['/proc/'] },
  ),
];
