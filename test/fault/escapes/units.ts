// Ways for the text of a unit to run, read or write what its owner did not grant. The owner granted the unit, the program
// that it runs, and that a manifest writes its unit file.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { resource } from '../../support/manifest.ts';
import type { Allow, Escape, Stage } from './stage.ts';
import type { Way } from './ways.ts';

export const service = (spec: object) => resource('Service', 's', spec);

export function allowed(s: Stage, more: Allow = {}): Allow {
  return {
    kinds: ['Service'],
    units: [s.unit],
    exec: [s.honest],
    rootEquivalent: [`unit-file:${s.unit}`],
    ...more,
  };
}

export function twin(s: Stage, evil: Escape['evil'], more: Allow = {}): Escape {
  return {
    allow: allowed(s, more),
    honest: {
      resources: [
        service({
          unit: s.unit,
          unitFile: { content: `[Service]\nEnvironment=A=1\nExecStart=${s.honest}\n` },
          dropIns: { '10-more.conf': { content: '[Service]\nNice=5\n' } },
        }),
      ],
      works: () => assert.match(s.seen(), /^A=1$/m),
    },
    evil,
  };
}

export const TWIN = 'Service';

/** @param text of the unit file, after [Service] */
const text = (name: string, body: (s: Stage) => string, more: Partial<Escape['evil']> = {}): Way => ({
  name,
  twin: TWIN,
  escape: (s) =>
    twin(s, {
      resources: [service({ unit: s.unit, unitFile: { content: `[Service]\n${body(s)}\n` } })],
      ...more,
    }),
});

const dropIn = (name: string, content: (s: Stage) => string, before?: (s: Stage) => void): Way => ({
  name,
  twin: TWIN,
  escape: (s) =>
    twin(s, {
      before: () => before?.(s),
      resources: [
        service({
          unit: s.unit,
          unitFile: { content: `[Service]\nExecStart=${s.honest}\n` },
          dropIns: { '10-more.conf': { content: content(s) } },
        }),
      ],
    }),
});

export const unitWays: readonly Way[] = [
  text('a second program after ";"', (s) => `Type=oneshot\nExecStart=${s.honest} once ; ${s.evil}`),
  text(
    'a second program after ";" on a continued line',
    (s) => `Type=oneshot\nExecStart=${s.honest} once ; \\\n ${s.evil}`,
  ),
  text(
    'a comment between continued lines',
    (s) => `Type=oneshot\nExecStart=${s.honest} once ; \\\n# nothing\n${s.evil}`,
  ),
  text(
    'a second program after a line separator of Unicode',
    (s) => `Type=oneshot\nExecStart=${s.honest} once \u2028 ; ${s.evil}`,
  ),
  text('a setting continued from a line before', (s) => `Type=oneshot\nExecStart=\\\n${s.evil}`),
  text('a program by a specifier', (s) => `ExecStart=%t/../usr/local/lib/evil-${s.id}`),
  text('a program in quotes and by an escape', (s) => `ExecStart="/usr/local/lib/\\x65vil-${s.id}"`),
  text('a program behind prefixes', (s) => `ExecStart=-@+${s.evil} ${s.honest}`),
  text('a program by ".."', (s) => `ExecStart=${path.dirname(s.honest)}/../lib/evil-${s.id}`),
  text('a program before the granted one', (s) => `ExecStartPre=${s.evil}\nExecStart=${s.honest}`),
  text('a program that ends it', (s) => `ExecStart=${s.honest} once\nExecStopPost=-${s.evil}`),
  text(
    'a program by the search path',
    (s) => `ExecSearchPath=${s.dir}\nExecStart=${path.basename(s.honest)}`,
    {
      refusal: ['NotAllowed'],
    },
  ),
  {
    name: 'another program in the place of the granted one, by RootDirectory=',
    twin: TWIN,
    escape: (s) =>
      twin(s, {
        async before() {
          fs.mkdirSync(s.at('root'));
          await s.sh(
            `mkdir -p ${s.at('root')}/{bin,lib,lib64,usr/local/lib,run,dev,proc,sys,tmp} && cd ${s.at('root')} && cp /bin/bash bin/ && cp /usr/bin/touch bin/ && for f in $(ldd /bin/bash /usr/bin/touch | grep -o '/[^ ]*' | grep -v ':'); do mkdir -p ./$(dirname $f); cp -L $f ./$f; done`,
          );
          s.program(s.at(`root${s.honest}`), `touch ${s.proof}/evil`);
        },
        resources: [
          service({
            unit: s.unit,
            unitFile: {
              content: `[Service]\nRootDirectory=${s.at('root')}\nBindPaths=${s.proof}\nExecStart=${s.honest}\n`,
            },
          }),
        ],
        safe: () => assert.ok(!fs.existsSync(path.join(s.proof, 'evil')), 'another program ran'),
      }),
  },
  text('code by Environment=', (s) => `Environment=BASH_ENV=${s.evil}\nExecStart=${s.honest}`),
  text(
    'code by LD_PRELOAD in Environment=',
    (s) => `Environment="LD_PRELOAD=${s.at('x.so')}"\nExecStart=${s.honest}`,
  ),
  text('code by EnvironmentFile=', (s) => {
    s.write(s.at('env'), `BASH_ENV=${s.evil}\n`);
    return `EnvironmentFile=${s.at('env')}\nExecStart=${s.honest}`;
  }),
  text('a secret by EnvironmentFile=', (s) => `EnvironmentFile=${s.vault}/env\nExecStart=${s.honest}`),
  text(
    'a secret by EnvironmentFile= with wildcards',
    (s) => `EnvironmentFile=-${s.vault}/e*\nExecStart=${s.honest}`,
  ),
  text('a secret by LoadCredential=', (s) => `LoadCredential=x:${s.vault}/secret\nExecStart=${s.honest}`),
  text('the agent’s key by LoadCredential=', (s) => `LoadCredential=x:${s.key}\nExecStart=${s.honest}`),
  text('a secret by StandardInput=', (s) => `StandardInput=file:${s.vault}/secret\nExecStart=${s.honest}`),
  text(
    'a file overwritten by StandardOutput=',
    (s) => `StandardOutput=truncate:${s.vault}/secret\nExecStart=${s.honest}`,
  ),
  text('a directory by BindReadOnlyPaths=', (s) => {
    fs.mkdirSync(s.at('window'));
    return `BindReadOnlyPaths=${s.vault}:${s.at('window')}\nExecStart=${s.honest}`;
  }),
  text('the agent’s state by BindPaths=', (s) => {
    fs.mkdirSync(s.at('window'));
    return `BindPaths=${s.state}:${s.at('window')}\nExecStart=${s.honest}`;
  }),
  dropIn('a program in a drop-in', (s) => `[Service]\nExecStartPre=${s.evil}\n`),
  dropIn('a granted program replaced in a drop-in', (s) => `[Service]\nExecStart=\nExecStart=${s.evil}\n`),
  {
    name: 'a drop-in whose text is a secret',
    twin: TWIN,
    escape: (s) =>
      twin(
        s,
        {
          before: () => s.write(s.at('secrets/text'), `[Service]\nExecStartPre=${s.evil}\n`),
          resources: [
            service({
              unit: s.unit,
              unitFile: { content: `[Service]\nExecStart=${s.honest}\n` },
              dropIns: { 'x.conf': { content: { secretFrom: { file: s.at('secrets/text') } } } },
            }),
          ],
        },
        { secrets: [`${s.at('secrets')}/`] },
      ),
  },
  {
    name: 'a unit file through a link',
    twin: TWIN,
    escape: (s) =>
      twin(s, {
        before() {
          fs.symlinkSync(s.vault, `/etc/systemd/system/${s.unit}.d`);
        },
        resources: [
          service({
            unit: s.unit,
            unitFile: { content: `[Service]\nExecStart=${s.honest}\n` },
            dropIns: { 'secret.conf': { content: '[Service]\nNice=5\n' } },
          }),
        ],
        refusal: ['NotAllowed', 'PathLeadsElsewhere'],
      }),
  },
  {
    name: 'code by the environment of a supervised unit',
    twin: 'Service supervised',
    escape: (s) => ({
      allow: allowed(s, { rootEquivalent: [`command:${s.unit}`] }),
      honest: {
        resources: [service({ unit: s.unit, manager: 'supervised', command: [s.honest], env: { A: '1' } })],
        works: () => assert.match(s.seen(), /^A=1$/m),
      },
      evil: {
        resources: [
          service({ unit: s.unit, manager: 'supervised', command: [s.honest], env: { BASH_ENV: s.evil } }),
        ],
      },
    }),
  },
];
