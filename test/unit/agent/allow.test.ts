// The allow-list: closed by default, and its refusals say what would open it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { AgentConfig, ALLOW_EVERYTHING, AllowList, ownPaths, ownPrograms } from '../../../agent/config.ts';
import { isGranted, pathAllowed, requireAllowed } from '../../../agent/reconcile/allow.ts';
import { Stalled } from '../../../api/errors.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

test('nothing is allowed by default, and everything that is missing is named at once', () => {
  const permissions = [
    { type: 'path', value: '/etc/motd' } as const,
    { type: 'root-equivalent', value: 'unit:x.service', why: 'it runs as root' } as const,
  ];
  assert.throws(
    () => requireAllowed('File', permissions, { allow: AllowList.parse({}) }),
    (error) =>
      error instanceof Stalled &&
      error.reason === 'NotAllowed' &&
      error.message.includes('kind File (allow.kinds)') &&
      error.message.includes('path /etc/motd (allow.paths)') &&
      error.message.includes('root-equivalent unit:x.service (allow.rootEquivalent; it runs as root)'),
  );
});

test('a path is allowed by itself or below a listed directory, and by no other prefix', () => {
  const allow = ['/etc/alloy/', '/etc/motd'];
  for (const p of ['/etc/alloy/config.alloy', '/etc/alloy/a/b', '/etc/alloy', '/etc/motd']) {
    assert.ok(pathAllowed(p, allow), p);
  }
  for (const p of ['/etc/alloy2', '/etc/motd2', '/etc/motd/x', '/etc', '/etc/alloy/../shadow', '/']) {
    assert.ok(!pathAllowed(p, allow), p);
  }
  assert.ok(pathAllowed('/any/thing', ['/']));
});

test('a star stands for any run of characters', () => {
  const grants = { allow: AllowList.parse({ kinds: ['*'], units: ['alloy*.service', '*'].slice(0, 1) }) };
  const permissions = (value: string) => [{ type: 'unit', value } as const];
  requireAllowed('Service', permissions('alloy.service'), grants);
  requireAllowed('Service', permissions('alloy-2.service'), grants);
  for (const unit of ['alloy.socket', 'my-alloy.service', 'alloy.service.d']) {
    assert.throws(() => requireAllowed('Service', permissions(unit), grants), Stalled, unit);
  }
});

const mount = (value: string, mode: 'ro' | 'rw') => ({ type: 'mount', value, mode }) as const;

test('a mount is granted with its mode, and a root of everything grants itself only', () => {
  const grants = { allow: AllowList.parse({ mounts: ['/var/log', '/srv/app/:rw', 'data:rw', '/:ro'] }) };
  for (const granted of [
    mount('/var/log', 'ro'),
    mount('/srv/app/x', 'rw'),
    mount('/srv/app', 'ro'),
    mount('data', 'rw'),
    mount('/', 'ro'),
  ])
    assert.ok(isGranted(granted, grants), JSON.stringify(granted));
  for (const refused of [
    mount('/var/log', 'rw'),
    mount('/var/log/x', 'ro'),
    mount('/srv/app2', 'ro'),
    mount('/srv/app/../x', 'ro'),
    mount('/', 'rw'),
    mount('/etc', 'ro'),
    mount('data2', 'ro'),
  ])
    assert.ok(!isGranted(refused, grants), JSON.stringify(refused));
});

test('a star alone grants every mount', () => {
  const grants = { allow: AllowList.parse({ mounts: ['/', '*'] }) };
  for (const mode of ['ro', 'rw'] as const) assert.ok(isGranted(mount('/srv/x', mode), grants));
});

test('what is the agent’s own is granted to nobody', () => {
  const grants = {
    allow: ALLOW_EVERYTHING,
    own: ['/var/lib/homeostat', '/etc/homeostat/agent.json', '/run/homeostat/agent.sock'],
  };
  for (const refused of [
    mount('/', 'ro'),
    mount('/etc', 'ro'),
    mount('/var/lib/homeostat/x', 'ro'),
    { type: 'path', value: '/var/lib/homeostat/journal.log' } as const,
    { type: 'secret', value: '/etc/homeostat/agent.json' } as const,
  ])
    assert.ok(!isGranted(refused, grants), JSON.stringify(refused));
  assert.ok(isGranted({ type: 'path', value: '/etc/homeostat/other' }, grants));
  assert.ok(isGranted(mount('/etc/alloy', 'rw'), grants));
});

test('a star stands for a part of a path, and no name has a control character', () => {
  const grants = {
    allow: AllowList.parse({
      images: ['grafana/*:1'],
      units: ['*'],
      urls: ['http://127.0.0.1:*'],
      paths: ['/'],
    }),
  };
  assert.ok(isGranted({ type: 'image', value: 'grafana/alloy:1' }, grants));
  for (const refused of [
    { type: 'image', value: 'grafana/a/b:1' },
    { type: 'unit', value: 'a.service\nb.service' },
    { type: 'url', value: 'http://127.0.0.1:80/x' },
    { type: 'path', value: '/etc/a\0b' },
    { type: 'path', value: '/etc/a\nb' },
    { type: 'path', value: '/etc/a\u2028b' },
  ] as const)
    assert.ok(!isGranted(refused, grants), JSON.stringify(refused));
});

test('a pattern with many stars takes no time', () => {
  const grants = { allow: AllowList.parse({ units: [`${'*a'.repeat(200)}*b`] }) };
  assert.ok(!isGranted({ type: 'unit', value: 'a'.repeat(5000) }, grants));
});

test('a directory with all that is in it needs a grant of that', () => {
  assert.ok(pathAllowed('/srv/app/', ['/srv/app/']));
  assert.ok(pathAllowed('/srv/app/x/', ['/srv/app/']));
  assert.ok(!pathAllowed('/srv/app/', ['/srv/app']));
  assert.ok(!pathAllowed('/srv/', ['/srv/app/']));
});

test('what runs the agent may be read, and is never written, stopped or changed by a drop-in', () => {
  const unit = 'homeostat-agent.service';
  const config = AgentConfig.parse({ host: 'h', allow: {} });
  const grants = {
    allow: ALLOW_EVERYTHING,
    ownUnits: [unit],
    ownPrograms: ownPrograms(config, [unit], ['/usr/local/bin/homeostat']),
  };
  for (const refused of [
    { type: 'unit', value: unit },
    { type: 'unit', value: 'homeostat-.service' },
    { type: 'path', value: `/etc/systemd/system/${unit}` },
    { type: 'path', value: `/usr/lib/systemd/system/${unit}.d/x.conf` },
    { type: 'path', value: '/etc/systemd/system/homeostat-.service.d/x.conf' },
    { type: 'path', value: '/etc/systemd/system/service.d/x.conf' },
    { type: 'path', value: '/etc/systemd' },
    { type: 'path', value: '/usr/local/bin/homeostat' },
    { type: 'path', value: '/proc/1/root/etc/motd' },
    { type: 'secret', value: '/proc/self/environ' },
    { type: 'mount', value: '/proc/1', mode: 'ro' },
    mount('/etc/systemd', 'rw'),
  ] as const)
    assert.ok(!isGranted(refused, grants), JSON.stringify(refused));
  for (const granted of [
    { type: 'unit', value: 'homeostat-other.service' },
    { type: 'unit', value: 'homeo.service' },
    { type: 'path', value: '/usr/local/bin/other' },
    mount('/etc/systemd', 'ro'),
  ] as const)
    assert.ok(isGranted(granted, grants), JSON.stringify(granted));
});

test('where the agent’s own is reached through a link, the place that this leads to is its own as well', (t) => {
  const directory = temporaryDirectory(t);
  fs.mkdirSync(path.join(directory, 'real'));
  fs.symlinkSync('real', path.join(directory, 'state'));
  const config = AgentConfig.parse({ host: 'h', stateDir: path.join(directory, 'state') });
  const grants = { allow: ALLOW_EVERYTHING, own: ownPaths(config) };
  for (const name of ['state', 'real'])
    assert.ok(!isGranted({ type: 'path', value: path.join(directory, name, 'agent.key') }, grants), name);
});
