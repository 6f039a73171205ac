// Ways for the text of a unit to run, read or write what its owner did not grant. The owner granted the unit, the program
// that it runs, and that a manifest writes its unit file.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { resource } from '../../support/manifest.ts';
import type { Allow, Escape, Stage } from './stage.ts';
import type { Way } from './ways.ts';

const service = (spec: object) => resource('Service', 's', spec);

function allowed(s: Stage, more: Allow = {}): Allow {
  return {
    kinds: ['Service'],
    units: [s.unit],
    exec: [s.honest],
    rootEquivalent: [`unit-file:${s.unit}`],
    ...more,
  };
}

function twin(s: Stage, evil: Escape['evil'], more: Allow = {}): Escape {
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

const TWIN = 'Service';

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

/** A unit that the host has, that nobody granted, and that does not run. */
function otherUnit(s: Stage): string {
  const unit = `${s.id}-other.service`;
  fs.writeFileSync(`/etc/systemd/system/${unit}`, `[Service]\nType=oneshot\nExecStart=${s.evil}\n`);
  return unit;
}

const pulledIn = (setting: string): Way => ({
  name: `another unit by ${setting}`,
  twin: TWIN,
  escape: (s) =>
    twin(s, {
      before: () => otherUnit(s),
      resources: [
        service({
          unit: s.unit,
          unitFile: {
            content: `[Unit]\n${setting}${s.id}-other.service\n[Service]\nExecStart=${s.honest}${setting === 'OnSuccess=' ? ' once' : ''}\n`,
          },
        }),
      ],
    }),
});

/** Another kind of unit, which starts what it likes. */
const starter = (
  name: string,
  suffix: string,
  content: (s: Stage) => string,
  before?: (s: Stage) => unknown,
): Way => ({
  name,
  twin: `Service ${suffix}`,
  escape: (s) => {
    const unit = `${s.id}-x.${suffix}`;
    return {
      allow: allowed(s, {
        units: [s.unit, unit],
        rootEquivalent: [`unit-file:${s.unit}`, `unit-file:${unit}`],
      }),
      honest: {
        resources: [
          resource('Service', 'target', {
            unit: s.unit,
            state: 'stopped',
            unitFile: { content: `[Service]\nExecStart=${s.honest}\n` },
          }),
        ],
        works: () => assert.ok(fs.existsSync(`/etc/systemd/system/${s.unit}`)),
      },
      evil: {
        before: () => before?.(s),
        resources: [resource('Service', 'x', { unit, unitFile: { content: content(s) } })],
      },
    };
  },
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
  ...['Wants=', 'Requires=', 'OnSuccess=', 'Upholds='].map(pulledIn),
  {
    name: 'another unit enabled by Also=',
    twin: TWIN,
    escape: (s) =>
      twin(s, {
        before() {
          fs.appendFileSync(`/etc/systemd/system/${otherUnit(s)}`, '[Install]\nWantedBy=multi-user.target\n');
        },
        resources: [
          service({
            unit: s.unit,
            enabled: true,
            unitFile: {
              content: `[Service]\nExecStart=${s.honest}\n[Install]\nWantedBy=multi-user.target\nAlso=${s.id}-other.service\n`,
            },
          }),
        ],
        safe: () =>
          assert.ok(
            !fs.existsSync(`/etc/systemd/system/multi-user.target.wants/${s.id}-other.service`),
            'the other unit is enabled',
          ),
      }),
  },
  {
    name: 'another unit’s name by Alias=',
    twin: TWIN,
    escape: (s) =>
      twin(s, {
        resources: [
          service({
            unit: s.unit,
            enabled: true,
            unitFile: {
              content: `[Service]\nExecStart=${s.honest}\n[Install]\nAlias=${s.id}-alias.service\n`,
            },
          }),
        ],
        safe: () =>
          assert.ok(!fs.existsSync(`/etc/systemd/system/${s.id}-alias.service`), 'it has the other’s name'),
      }),
  },
  starter(
    'another unit by a timer',
    'timer',
    (s) => `[Timer]\nOnActiveSec=0\nUnit=${s.id}-other.service\n`,
    otherUnit,
  ),
  starter(
    'another unit by a path',
    'path',
    (s) => `[Path]\nPathExists=/etc\nUnit=${s.id}-other.service\n`,
    otherUnit,
  ),
  starter(
    'a program by a socket',
    'socket',
    (s) => `[Socket]\nListenStream=/run/${s.id}.sock\nExecStartPre=${s.evil}\nService=${s.unit}\n`,
  ),
  {
    name: 'a directory by a mount unit',
    twin: 'Service timer',
    escape: (s) => {
      const unit = `srv-${s.id}-m.mount`;
      return {
        allow: allowed(s, {
          units: [s.unit, unit],
          rootEquivalent: [`unit-file:${s.unit}`, `unit-file:${unit}`],
        }),
        honest: { resources: [], works: () => undefined },
        evil: {
          before: () => {
            s.after(() =>
              s.sh(`systemctl stop ${unit}; rm -f /etc/systemd/system/${unit}; systemctl daemon-reload`),
            );
          },
          resources: [
            resource('Service', 'm', {
              unit,
              unitFile: {
                content: `[Mount]\nWhat=${s.vault}\nWhere=${s.at('m')}\nType=none\nOptions=bind\n`,
              },
            }),
          ],
          safe: () => assert.ok(!fs.existsSync(s.at('m/secret')), 'it is mounted'),
        },
      };
    },
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
