// The allow-list: closed by default, and its refusals say what would open it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALLOW_EVERYTHING, AllowList } from '../../../agent/config.ts';
import { isGranted, pathAllowed, requireAllowed } from '../../../agent/reconcile/allow.ts';
import { Stalled } from '../../../api/errors.ts';

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
