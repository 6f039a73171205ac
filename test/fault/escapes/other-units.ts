// Ways for a granted unit to start, enable or be another one, or what is no service at all.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { resource } from '../../support/manifest.ts';
import type { Stage } from './stage.ts';
import { allowed, service, TWIN, twin } from './units.ts';
import type { Way } from './ways.ts';

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

export const otherUnitWays: readonly Way[] = [
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
];
