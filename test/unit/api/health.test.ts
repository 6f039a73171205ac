// A host's word is the worst of its resources, and the same wherever people look: every row is one host.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  HOST_STATES,
  type HostFacts,
  type HostState,
  hostHealth,
  resourceState,
  tally,
} from '../../../api/health.ts';
import { AgentStatus, type Condition, type ResourceStatus } from '../../../api/status.ts';

const AT = '2026-11-23T12:00:00.000Z';
const condition = (
  type: string,
  status: Condition['status'],
  reason: string,
  lastTransitionTime = '',
): Condition => ({ type, status, reason, message: 'm', lastTransitionTime });
const resource = (name: string, conditions: Condition[], drift: string[] = []): ResourceStatus => ({
  key: `File/${name}`,
  conditions,
  desiredDigest: 'd',
  runningDigest: '',
  drift,
  healedTotal: 1,
  source: 'a.yaml:1',
});
const as = (name: string, status: Condition['status'], reason: string, ...more: Condition[]) =>
  resource(name, [condition('Ready', status, reason), ...more]);

const READY = as('ready', 'True', 'InSync');
const ALL = {
  ready: READY,
  drifted: resource('drifted', [condition('Ready', 'False', 'Drifted')], ['mode: 0644 → 0600']),
  degraded: as('degraded', 'False', 'Degraded'),
  errno: as('errno', 'False', 'ENOSPC'),
  notAllowed: as('not-allowed', 'False', 'NotAllowed'),
  secretMissing: as('secret-missing', 'False', 'SecretMissing'),
  unsupported: as('unsupported', 'False', 'Unsupported'),
  crashLoop: as('crash-loop', 'False', 'CrashLoop'),
  contended: as('contended', 'False', 'Contended', condition('Contended', 'True', 'Contended')),
  contendedNow: as('contended-now', 'True', 'InSync', condition('Contended', 'True', 'Contended')),
  rolledBack: as('rolled-back', 'False', 'RolledBack'),
  undoFailing: as('undo-failing', 'False', 'UndoFailing'),
  suspended: as('suspended', 'Unknown', 'Suspended', condition('Suspended', 'True', 'Suspended')),
  unknown: as('unknown', 'Unknown', 'AlloyStarting'),
  dependency: as('dependency', 'False', 'Dependency'),
  overdue: resource('overdue', [condition('Ready', 'Unknown', 'AlloyStarting', '2026-11-23T11:00:00.000Z')]),
  waiting: resource('waiting', [condition('Ready', 'False', 'Dependency', '2026-11-23T11:44:59.000Z')]),
  stillWaiting: resource('still', [condition('Ready', 'False', 'Dependency', '2026-11-23T11:45:01.000Z')]),
  unseen: resource('unseen', []),
};

interface Row {
  readonly resources?: readonly ResourceStatus[];
  readonly mode?: 'observe' | 'enforce';
  readonly over?: Partial<HostFacts>;
  readonly desired?: number;
  readonly conditions?: Readonly<Record<string, Condition['status']>>;
  readonly is: readonly [state: string, reason: RegExp | string];
}

const ROWS: Readonly<Record<string, Row>> = {
  'all ready': { resources: [READY], is: ['Ready', 'as git says'] },
  'drifted under drift: warn': {
    resources: [READY, ALL.drifted],
    is: ['Drifted', 'drifted and not put back, by drift: warn: File/drifted (Drifted)'],
  },
  degraded: {
    resources: [READY, ALL.degraded],
    is: ['Degraded', '1 of 2 resources is not as git says, or not well: File/degraded (Degraded)'],
  },
  'an error': { resources: [ALL.errno], is: ['Degraded', /File\/errno \(ENOSPC\)/] },
  'not allowed': { resources: [READY, ALL.notAllowed], is: ['Degraded', /not-allowed \(NotAllowed\)/] },
  'a crash loop': { resources: [READY, ALL.crashLoop], is: ['Degraded', /crash-loop \(CrashLoop\)/] },
  contended: { resources: [READY, ALL.contended], is: ['Degraded', /contended \(Contended\)/] },
  'contended, and right at this moment': {
    resources: [READY, ALL.contendedNow],
    is: ['Degraded', /contended-now \(Contended\)/],
  },
  'rolled back': {
    resources: [READY, ALL.degraded, ALL.rolledBack],
    is: ['RolledBack', /^a change failed and was undone.*rolled-back.*; 1 of 3 resources is not as git says/],
  },
  'an undo that fails is worse than one that is done': {
    resources: [ALL.rolledBack, ALL.undoFailing],
    is: ['UndoFailing', /^a change failed, and undoing it fails too.*undo-failing.*; .*rolled-back/],
  },
  'a verdict that is not known yet': {
    resources: [READY, ALL.unknown],
    is: ['Settling', 'not settled yet: File/unknown (AlloyStarting)'],
  },
  'a dependency that is waited for': { resources: [ALL.dependency], is: ['Settling', /Dependency/] },
  'a verdict that is not known for an hour': {
    resources: [READY, ALL.overdue],
    is: ['Degraded', /^1 of 2 resources is not as git says.*: File\/overdue \(AlloyStarting for 60 min\)$/],
  },
  'a dependency that is waited for too long': {
    resources: [ALL.waiting],
    is: ['Degraded', /Dependency for 15 min/],
  },
  'a dependency that is waited for just not too long': {
    resources: [ALL.stillWaiting],
    is: ['Settling', /still \(Dependency\)/],
  },
  'no pass yet': { resources: [ALL.unseen], is: ['Settling', 'not settled yet: File/unseen (Pending)'] },
  suspended: { resources: [READY, ALL.suspended], is: ['Suspended', '1 resource suspended'] },
  'suspended and broken': {
    resources: [ALL.suspended, ALL.errno],
    is: ['Degraded', /ENOSPC.*; 1 resource s/],
  },
  'a revision that the agent has not taken over': {
    resources: [READY],
    desired: 6,
    is: ['Settling', 'the new revision is on its way'],
  },
  'a failure is not hidden by a new revision': {
    resources: [ALL.errno],
    desired: 6,
    is: ['Degraded', /ENOSPC.*; the new revision is on its way/],
  },
  'a manifest that the agent refuses': {
    resources: [READY],
    desired: 6,
    conditions: { ManifestAccepted: 'False' },
    is: ['Degraded', /^the agent refused the last manifest it was sent; it keeps what it runs$/],
  },
  'an agent in a crash loop, with everything as git says': {
    resources: [READY],
    conditions: { Stable: 'False' },
    is: ['Degraded', /^the agent ended again and again/],
  },
  'an agent in a crash loop does not put back what drifted': {
    resources: [ALL.drifted],
    conditions: { Stable: 'False' },
    is: ['Degraded', /; drifted and not put back: File\/drifted \(Drifted\)$/],
  },
  'an agent that is not well itself': {
    mode: 'observe',
    resources: [READY],
    conditions: { Healthy: 'False' },
    is: ['Degraded', /^the agent itself is not well/],
  },
  'an agent that lost a part of its journal': {
    resources: [READY],
    conditions: { JournalWhole: 'False' },
    is: ['Degraded', /^a part of the agent’s journal was lost/],
  },
  'an agent that was ill, and is well again': {
    resources: [READY],
    conditions: { Healthy: 'True', Stable: 'True' },
    is: ['Ready', 'as git says'],
  },
  'a manifest that is later than the one it is to run': {
    resources: [READY],
    desired: 8,
    is: ['Degraded', /^it runs a later manifest \(8\) than the one it is to run \(7\)/],
  },
  'an empty manifest': { is: ['Ready', 'no document in git selects this host'] },

  'observed, as git says': { mode: 'observe', resources: [READY], is: ['Observing', 'nothing would change'] },
  'observed, with drift': {
    mode: 'observe',
    resources: [READY, ALL.drifted],
    is: ['Observing', '1 resource would change; set spec.mode: enforce to have it done'],
  },
  'observed, and one can’t be looked at: not allowed': {
    mode: 'observe',
    resources: [READY, READY, ALL.notAllowed],
    is: [
      'Degraded',
      '1 of 3 resources can’t be looked at, or is not well: File/not-allowed (NotAllowed); nothing else would change',
    ],
  },
  'observed, and some can’t be looked at': {
    mode: 'observe',
    resources: [ALL.secretMissing, ALL.unsupported, ALL.errno, ALL.drifted],
    is: [
      'Degraded',
      '3 of 4 resources can’t be looked at, or are not well: File/secret-missing (SecretMissing) and 2 more; 1 resource would change',
    ],
  },
  'observed, not looked at yet': {
    mode: 'observe',
    resources: [READY, ALL.unseen],
    is: ['Settling', 'not settled yet: File/unseen (Pending); nothing else would change'],
  },
  'observed, an empty manifest': {
    mode: 'observe',
    is: ['Observing', 'no document in git selects this host'],
  },

  'a host that git does not name': {
    resources: [ALL.errno],
    over: { assigned: 'not in git' },
    is: ['Unassigned', /^git has no Host\/pi: it keeps what it runs/],
  },
  'a host that nothing has come for': {
    over: { assigned: 'nothing yet' },
    is: ['Unassigned', 'no manifest has come for this host yet'],
  },
  'a host that never reported': {
    over: { report: undefined, unheard: 'not enrolled' },
    is: ['Unseen', 'not enrolled'],
  },
  'a status just within the limit': { resources: [READY], over: { silentMs: 100_000 }, is: ['Ready', /git/] },
  'a status older than the limit': {
    resources: [READY],
    over: { silentMs: 100_001 },
    is: ['Unseen', 'silent for 2 min: is it on, and on the tailnet?'],
  },
  'an unreachable host, whatever it last said': {
    resources: [ALL.undoFailing],
    over: { silentMs: 7_200_000 },
    is: ['Unseen', /^silent for 2 h/],
  },
  'a status that is refused is no silence': {
    over: { report: undefined, refused: 'it is too large' },
    is: ['StatusRefused', 'reports, but its status is refused: it is too large'],
  },
};

for (const [
  name,
  { resources = [], mode = 'enforce', over, desired = 7, conditions = {}, is },
] of Object.entries(ROWS)) {
  test(`a host’s word: ${name}`, () => {
    const report = { mode, desired, tally: tally({ at: AT, resources: [...resources] }), conditions };
    const { state, reason } = hostHealth({ name: 'pi', assigned: 7, silentMs: 0, report, ...over });
    assert.equal(state, is[0], reason);
    if (typeof is[1] === 'string') assert.equal(reason, is[1]);
    else assert.match(reason, is[1]);
  });
}

test('no host is better than any of its resources', () => {
  const all = Object.values(ALL);
  const rank = (state: HostState) => HOST_STATES.indexOf(state);
  for (const a of all) {
    for (const b of all) {
      const report = {
        mode: 'enforce' as const,
        desired: 7,
        tally: tally({ at: AT, resources: [a, b] }),
        conditions: {},
      };
      const { state } = hostHealth({ name: 'pi', assigned: 7, silentMs: 0, report });
      const worst = Math.min(rank(resourceState(a.conditions, AT)), rank(resourceState(b.conditions, AT)));
      assert.equal(rank(state), worst, `${a.key} and ${b.key}`);
    }
  }
});

test('resources without detail count and are named as those with it', () => {
  const brief = { reason: 'NotAllowed', keys: ['File/a'], more: 2, drifted: 0, healedTotal: 4 };
  const counted = tally({ at: AT, resources: [READY], brief: [{ ...brief, state: 'Degraded' }] });
  assert.deepEqual([counted.total, counted.ready, counted.healedTotal], [4, 1, 5]);
  assert.deepEqual(counted.by.Degraded, { count: 3, named: ['File/a (NotAllowed)'] });
});

test('a state that only a later agent knows is nothing good', () => {
  const status = {
    host: 'pi',
    at: '',
    agent: { version: '9', kinds: [], platform: '', startedAt: '' },
    mode: 'enforce',
    sequence: { desired: 1, attempted: 1, running: 1 },
    commit: { desired: '', running: '' },
    conditions: [],
    resources: [],
    brief: [{ state: 'Burning', reason: 'Fire', keys: ['File/a'], more: 0, drifted: 0, healedTotal: 0 }],
    events: [],
  };
  assert.equal(tally(AgentStatus.parse(status)).by.Degraded.count, 1);
});
