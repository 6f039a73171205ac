// The contract, for every kind in the registry: docs/add-a-kind.md lists these sentences.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { loadAll } from 'js-yaml';
import * as z from 'zod';
import { ResourceDocument } from '../../api/documents.ts';
import { digestOf, type Json } from '../../api/json.ts';
import { kinds } from '../../kinds/index.ts';
import {
  type AnyKind,
  claimsOverlap,
  type Desired,
  type InventoryRecord,
  type Verdict,
  type Versioned,
} from '../../kinds/kind.ts';
import type { Ports } from '../../kinds/ports.ts';
import { readVersioned } from '../../kinds/shared/versioned.ts';
import { require } from '../support/capabilities.ts';
import { desiredOf } from '../support/desired.ts';
import { endSharedEngine } from '../support/shared-engine.ts';
import { OWNER_CHANGES } from '../unit/docs/owner-changes.ts';
import type { Opened } from './fixture.ts';
import { fixtures } from './fixtures.ts';

const root = path.dirname(path.dirname(import.meta.dirname));
const never = new AbortController().signal;

/** What release 0.1 (403dbe5) wrote for the fixture's specs. */
const Previous = z.array(z.object({ before: z.json(), memory: z.json().optional() }));

function desire(
  kind: AnyKind,
  spec: Record<string, unknown>,
  more: Partial<Desired<Record<string, unknown>>> = {},
) {
  return desiredOf(`${kind.kind}/contract`, kind.spec.parse(spec), {
    host: { name: 'contract', address: '127.0.0.1', labels: {} },
    digest: digestOf(spec),
    // Here a secret from the environment is its variable's name.
    content: (value) =>
      typeof value === 'string'
        ? { bytes: Buffer.from(value), secret: false }
        : { bytes: Buffer.from('env' in value.secretFrom ? value.secretFrom.env : ''), secret: true },
    ...more,
  });
}

/** Observe, diff, prepare, apply, and the gate, as the loop does; what is kept goes through its schema. */
async function bring(kind: AnyKind, d: Desired<Record<string, unknown>>, ports: Ports) {
  const observed = await kind.observe(d, ports, never);
  const changes = kind.diff(d, observed);
  const { existed, before } = await kind.prepare(d, observed, ports, never);
  const kept = restored(kind.before, before);
  const returned = await kind.apply(changes, d, ports, never);
  const memory =
    returned === undefined || kind.memory === undefined ? d.memory : restored(kind.memory, returned);
  const applied = { ...d, memory };
  const trialed = await gate(kind, applied, ports, kept);
  assert.equal(trialed.verdict, 'Yes', JSON.stringify(trialed));
  return { existed, before: kept, changes, after: { ...applied, heal: true } };
}

/** Written to disk by one agent, and read by the next. */
function restored<T>(shape: Versioned<T>, value: T): T {
  const data: Json = JSON.parse(JSON.stringify(value));
  return readVersioned(shape, { version: shape.version, data }, 'what was kept');
}

/** Observes and assesses until it is no longer Unknown, or the gate's time is over. */
async function gate(
  kind: AnyKind,
  d: Desired<Record<string, unknown>>,
  ports: Ports,
  before?: unknown,
): Promise<Verdict> {
  const { withinMs } = kind.gate?.(d.spec) ?? { withinMs: 0 };
  const began = performance.now();
  for (;;) {
    const observed = await kind.observe(d, ports, never);
    assert.deepEqual(kind.diff(d, observed), []);
    const elapsedMs = performance.now() - began;
    const verdict = kind.assess(d, observed, before === undefined ? undefined : { before, elapsedMs });
    if (verdict.verdict !== 'Unknown' || elapsedMs > withinMs + 1000) return verdict;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function differences(kind: AnyKind, d: Desired<Record<string, unknown>>, ports: Ports) {
  return kind.diff(d, await kind.observe(d, ports, never));
}

function record(d: Desired<Record<string, unknown>>, kind: AnyKind): InventoryRecord {
  return {
    key: d.key,
    owns: kind.owns(d.spec),
    memory: d.memory,
    content: d.content,
    own: d.own,
    refusal: d.refusal,
  };
}

after(endSharedEngine);

test('every kind has a fixture here', () => {
  assert.deepEqual(
    [...kinds.keys()].filter((name) => !fixtures.some((f) => f.kind.kind === name)),
    [],
  );
});

for (const { kind, open, requires = [] } of fixtures) {
  const contract = (name: string, body: (o: Opened & { ports: Ports }, t: TestContext) => Promise<void>) =>
    test(`${kind.kind}: ${name}`, async (t) => {
      if (!require(t, ...requires)) return;
      const opened = await open(t);
      await body({ ...opened, ports: opened.ports as Ports }, t);
    });

  contract(
    'diff is empty after apply, and a second apply changes nothing',
    async ({ ports, specs, fingerprint }) => {
      for (const [i, spec] of specs.entries()) {
        const { after } = await bring(kind, desire(kind, spec, i === 0 ? {} : { known: true }), ports);
        // The pass after the confirmation removes what was kept for an undo.
        const kept = await differences(kind, after, ports);
        if (kept.length > 0) await kind.apply(kept, after, ports, never);
        assert.deepEqual(await differences(kind, after, ports), []);
        const before = await fingerprint();
        await kind.apply([], after, ports, never);
        assert.equal(await fingerprint(), before);
      }
    },
  );

  contract(
    'observe, diff, assess and prepare leave nothing behind',
    async ({ ports, specs, fingerprint }) => {
      const d = desire(kind, specs[0]);
      const before = await fingerprint();
      const observed = await kind.observe(d, ports, never);
      if (kind.diff(d, observed).length === 0) kind.assess(d, observed);
      await kind.prepare(d, observed, ports, never);
      assert.equal(await fingerprint(), before);
    },
  );

  contract('what is kept survives the disk and takes the host back, whole', async (o) => {
    const { ports, specs, fingerprint } = o;
    const untouched = await fingerprint();
    const one = await bring(kind, desire(kind, specs[0]), ports);
    const withFirst = await fingerprint();
    const two = await bring(kind, desire(kind, specs[1], { memory: one.after.memory, known: true }), ports);
    for (const _ of ['undone', 'undone again, as after a crash']) {
      await kind.undo(two.before, record(two.after, kind), ports, never);
      assert.equal(await fingerprint(), withFirst, 'back to the state before the second');
    }
    assert.deepEqual(await differences(kind, one.after, ports), []);
    for (const _ of ['undone', 'undone again, as after a crash']) {
      await kind.undo(one.before, record(one.after, kind), ports, never);
      assert.equal(await fingerprint(), untouched, 'back to the state before homeostat');
    }
  });

  contract('every breakage is seen and mended', async ({ ports, specs, breakages, unwell = {} }) => {
    const { after } = await bring(kind, desire(kind, specs[0]), ports);
    const ways = Object.keys(breakages).length + Object.keys(unwell).length;
    assert.ok(ways >= 4, 'a kind is broken in at least four ways');
    for (const [name, breakIt] of Object.entries(breakages)) {
      await breakIt();
      const changes = await differences(kind, after, ports);
      assert.ok(changes.length > 0, `${name}: not seen`);
      const memory = await kind.apply(changes, after, ports, never);
      const healed = memory === undefined ? after : { ...after, memory };
      assert.deepEqual(await differences(kind, healed, ports), [], `${name}: not mended`);
      const now = await gate(kind, healed, ports);
      assert.equal(now.verdict, 'Yes', `${name}: mended, and does not work: ${JSON.stringify(now)}`);
    }
  });

  contract('what does not work is never Yes, however often it is asked, until it works', async (o) => {
    const { ports, specs, unwell = {} } = o;
    if (Object.keys(unwell).length === 0) return;
    const { after, before } = await bring(kind, desire(kind, specs[0]), ports);
    for (const [name, { harm, repair }] of Object.entries(unwell)) {
      // What docs/owner-changes.md says of it.
      const row = OWNER_CHANGES[kind.kind]?.find(({ proof }) => 'unwell' in proof && proof.unwell === name);
      const isSaid = (reason: unknown): void => {
        if (row !== undefined) assert.equal(reason, row.reason, `${name}: docs/owner-changes.md`);
      };
      await harm();
      for (const trial of [undefined, { before, elapsedMs: 0 }, { before, elapsedMs: 3_600_000 }]) {
        const observed = await kind.observe(after, ports, never).catch((error: Error) => error);
        // What can't be observed is not Ready either, and the message says why.
        if (observed instanceof Error) {
          assert.notEqual(observed.message, '');
          isSaid('reason' in observed ? observed.reason : observed.message);
          continue;
        }
        assert.deepEqual(kind.diff(after, observed), [], `${name}: it is no drift`);
        const verdict = kind.assess(after, observed, trial);
        assert.notEqual(verdict.verdict, 'Yes', `${name}: not seen`);
        assert.ok('evidence' in verdict && verdict.evidence !== '', `${name}: without evidence`);
        if (trial === undefined) isSaid('reason' in verdict ? verdict.reason : undefined);
      }
      await repair();
      assert.equal((await gate(kind, after, ports)).verdict, 'Yes', `${name}: repaired, and still reported`);
    }
  });

  contract('an abort is prompt', async ({ ports, specs }) => {
    const d = desire(kind, specs[0]);
    await kind.observe(d, ports, AbortSignal.abort()).catch(() => undefined);
  });

  test(`${kind.kind}: what the previous release kept is read`, () => {
    const file = path.join(import.meta.dirname, 'previous', `${kind.kind}.json`);
    const recorded = Previous.parse(JSON.parse(fs.readFileSync(file, 'utf8')));
    assert.ok(recorded.length > 0);
    for (const { before, memory } of recorded) {
      readVersioned(kind.before, { version: 1, data: before as Json }, 'a snapshot');
      if (kind.memory !== undefined && memory !== undefined) {
        readVersioned(kind.memory, { version: 1, data: memory as Json }, 'a memory');
      }
    }
  });

  contract(
    'a watch arms, wakes once, wakes at a change, and ends promptly',
    async ({ ports, specs, breakages, unwell = {} }) => {
      if (kind.watch === undefined) return;
      const { after } = await bring(kind, desire(kind, specs[0]), ports);
      const stop = new AbortController();
      let wakes = 0;
      let woken = Promise.withResolvers<void>();
      const ended = kind.watch(
        after,
        ports,
        () => {
          wakes += 1;
          woken.resolve();
        },
        stop.signal,
      );
      await woken.promise;
      assert.ok(wakes >= 1);
      woken = Promise.withResolvers();
      await (Object.values(breakages)[0] ?? Object.values(unwell)[0]!.harm)();
      await woken.promise;
      stop.abort();
      await ended;
    },
  );

  contract('claims are unique and stay the same for the same spec', async ({ specs, breakages }) => {
    for (const spec of specs) {
      const claims = kind.owns(kind.spec.parse(spec));
      // Who changes nothing has nothing to own.
      assert.equal(claims.length > 0, Object.keys(breakages).length > 0);
      for (const [i, a] of claims.entries()) {
        for (const b of claims.slice(i + 1)) assert.ok(!claimsOverlap(a, b), `${a} and ${b} overlap`);
      }
      assert.deepEqual(kind.owns(kind.spec.parse(structuredClone(spec))), claims);
    }
  });

  test(`${kind.kind}: the example in its README is valid`, () => {
    const folder = kind.kind.replace(/(?<=[a-z0-9])(?=[A-Z])/g, '-').toLowerCase();
    const readme = fs.readFileSync(path.join(root, 'kinds', folder, 'README.md'), 'utf8');
    const examples = [...readme.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].flatMap((m) => loadAll(m[1]!));
    assert.ok(examples.length > 0, 'there is no example');
    for (const example of examples) {
      const document = ResourceDocument.parse(example);
      assert.equal(document.kind, kind.kind);
      const spec = kind.spec.parse(document.spec);
      assert.deepEqual(kind.check?.(spec) ?? [], []);
      const places = [document.hosts && 'host', document.runOn && 'fleet'].filter(Boolean);
      assert.equal(places.length, 1, 'hosts or runOn');
      assert.ok(kind.scope === 'either' || kind.scope === places[0]);
    }
  });
}
