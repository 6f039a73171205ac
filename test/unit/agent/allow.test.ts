// The allow-list: closed by default, and its refusals say what would open it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AllowList } from '../../../agent/config.ts';
import { pathAllowed, requireAllowed } from '../../../agent/reconcile/allow.ts';
import { Stalled } from '../../../api/errors.ts';

test('nothing is allowed by default, and everything that is missing is named at once', () => {
  const asks = [
    { type: 'path', value: '/etc/motd' } as const,
    { type: 'root-equivalent', value: 'unit:x.service', why: 'it runs as root' } as const,
  ];
  assert.throws(
    () => requireAllowed('File', asks, AllowList.parse({})),
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
  for (const p of ['/etc/alloy/config.alloy', '/etc/alloy/a/b', '/etc/alloy', '/etc/motd', '/etc/motd/x']) {
    assert.ok(pathAllowed(p, allow), p);
  }
  for (const p of ['/etc/alloy2', '/etc/motd2', '/etc', '/etc/alloy/../shadow', '/']) {
    assert.ok(!pathAllowed(p, allow), p);
  }
  assert.ok(pathAllowed('/any/thing', ['/']));
});

test('a star stands for any run of characters', () => {
  const allow = AllowList.parse({ kinds: ['*'], units: ['alloy*.service', '*'].slice(0, 1) });
  const asks = (value: string) => [{ type: 'unit', value } as const];
  requireAllowed('Service', asks('alloy.service'), allow);
  requireAllowed('Service', asks('alloy-2.service'), allow);
  for (const unit of ['alloy.socket', 'my-alloy.service', 'alloy.service.d']) {
    assert.throws(() => requireAllowed('Service', asks(unit), allow), Stalled, unit);
  }
});
