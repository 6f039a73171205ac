import assert from 'node:assert/strict';
import { test } from 'node:test';
import { goneSource, type Now, newerThan, startOf } from '../../../kinds/container-start.ts';
import type { Container } from '../../../kinds/docker-engine.ts';

const at = Date.parse('2026-01-01T00:00:00Z');
const container = (offsetMs = 0) =>
  ({ State: { StartedAt: new Date(at + offsetMs).toISOString() } }) as Container;
const now = (more: Partial<Now> = {}): Now => ({ restartOn: [], inputs: {}, sources: {}, ...more });

test('what was replaced after the start is newer, known by what was remembered or else by time', () => {
  const sources = (bornAtMs: number | undefined) => now({ sources: { '/srv/conf': bornAtMs } });
  const start = startOf(container(), undefined, sources(at - 5000));
  assert.equal(newerThan(container(), start, sources(at - 5000)), undefined);
  // An older file that was moved there: only what is remembered tells it.
  assert.match(newerThan(container(), start, sources(at - 9000)) ?? '', /^\/srv\/conf, which it has mounted/);
  assert.equal(newerThan(container(), undefined, sources(at - 9000)), undefined);
  assert.match(newerThan(container(), undefined, sources(at + 1)) ?? '', /was replaced$/);
  // Of another start nothing is remembered.
  assert.equal(newerThan(container(9000), start, sources(at + 1)), undefined);
  // Where no time can be told, and what an older release remembered of files, is no reason.
  assert.equal(newerThan(container(), start, sources(0)), undefined);
  const old = { ...start, sources: { '/srv/conf': 0 } };
  assert.equal(newerThan(container(), old, sources(at + 1)), undefined);
  for (const source of ['/etc/resolv.conf', '/run/docker.sock', '/etc/localtime', '/proc/1'])
    assert.equal(
      newerThan(container(), undefined, now({ sources: { [source]: at + 1 } })),
      undefined,
      source,
    );
});

test('a run that goes on keeps what is remembered of its start', () => {
  const first = startOf(container(), undefined, now({ sources: { '/a': at - 1 } }));
  const gone = now({ sources: { '/a': undefined } });
  const later = startOf(container(), first, gone);
  assert.deepEqual(later, first);
  assert.equal(goneSource(later, gone.sources), '/a');
  assert.equal(goneSource(startOf(container(5), later, gone), gone.sources), undefined);
});
