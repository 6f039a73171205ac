// What a terminal shows of a host: its word first, then why, then every resource.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import type { AgentStatus, Condition, ResourceStatus } from '../../../api/status.ts';
import { describe } from '../../../cli/status.ts';
import { statusOf } from '../../support/agent-status.ts';

const shown = (over: Partial<AgentStatus>): string =>
  stripVTControlCharacters(
    describe(
      statusOf('pi', {
        sequence: { desired: 7, attempted: 7, running: 7 },
        commit: { desired: 'a'.repeat(40), running: 'a'.repeat(40) },
        ...over,
      }),
    ),
  );
const condition = (type: string, status: Condition['status'], reason: string, message: string) => ({
  type,
  status,
  reason,
  message,
  lastTransitionTime: '',
});
const resource = (
  key: string,
  conditions: Condition[],
  over: Partial<ResourceStatus> = {},
): ResourceStatus => ({
  key,
  conditions,
  desiredDigest: '',
  runningDigest: '',
  drift: [],
  healedTotal: 0,
  source: '',
  ...over,
});
const READY = condition('Ready', 'True', 'InSync', 'as the manifest says');

test('an assigned manifest without documents is not called unassigned', () => {
  assert.match(shown({}), /✓ Ready: no document in git selects this host/);
  assert.doesNotMatch(shown({}), /nothing is assigned|no manifest has come/);
});

test('before the first manifest the terminal says that none has come', () => {
  const before = shown({
    sequence: { desired: 0, attempted: 0, running: 0 },
    commit: { desired: '', running: '' },
  });
  assert.match(before, /^pi {2}mode enforce {2}no manifest yet$/m);
  assert.match(before, /∅ Unassigned: no manifest has come for this host yet/);
});

test('a first pass that takes long is shown as one that runs, and for how long', () => {
  const text = shown({ resources: [resource('Service/long', [], { passRunningSeconds: 372 })] });
  assert.match(text, /… Service\/long {2}Pending {5}its first pass has run for 6 min$/m);
  assert.doesNotMatch(text, /not looked at yet/);
  const again = shown({ resources: [resource('Service/long', [READY], { passRunningSeconds: 372 })] });
  assert.match(again, /✓ Service\/long {2}InSync\n {2}a pass has run for 6 min/);
  assert.match(shown({ resources: [resource('File/a', [])] }), /File\/a +Pending +not looked at yet/);
});

test('the terminal names the worst of the resources in its second line', () => {
  const resources = [
    resource('File/a', [READY]),
    resource('File/b', [condition('Ready', 'False', 'NotAllowed', 'the path /b is not allowed here')]),
  ];
  const [, second, , counted] = shown({ mode: 'observe', resources }).split('\n');
  assert.match(
    second!,
    /^✗ Degraded: 1 of 2 resources can’t be looked at, or is not well: File\/b \(NotAllowed\)/,
  );
  assert.equal(counted, '1 of 2 resources ready');
});

test('a condition is shown when it says that something is wrong, whichever way round it says so', () => {
  const text = shown({
    conditions: [condition('StatusShortened', 'True', 'TooLarge', 'some is left out')],
    resources: [
      resource('AlloyConfig/a', [
        READY,
        condition('AlloyHealthy', 'False', 'UnhealthyComponents', 'x is down'),
      ]),
      resource('AlloyConfig/b', [READY, condition('AlloyHealthy', 'True', 'Healthy', 'all are healthy')]),
      resource('AptRepository/c', [READY, condition('KeyExpiry', 'True', 'ExpiresSoon', 'the key expires')]),
      resource('AptRepository/d', [READY, condition('KeyExpiry', 'False', 'Valid', 'the key is valid')]),
    ],
  });
  assert.match(text, /^StatusShortened: TooLarge: some is left out$/m);
  assert.match(text, /^ {2}AlloyHealthy: x is down$/m);
  assert.match(text, /^ {2}KeyExpiry: the key expires$/m);
  assert.doesNotMatch(text, /all are healthy|the key is valid/);
});
