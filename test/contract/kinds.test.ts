// The contract, for every kind in the registry: docs/add-a-kind.md lists these sentences.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { loadAll } from 'js-yaml';
import { ResourceDocument } from '../../api/documents.ts';
import { digestOf } from '../../api/json.ts';
import { kinds } from '../../kinds/index.ts';
import { type AnyKind, claimsOverlap, type Desired, type InventoryRecord } from '../../kinds/kind.ts';
import type { Ports } from '../../kinds/ports.ts';
import { require } from '../support/capabilities.ts';
import { endSharedEngine } from '../support/shared-engine.ts';
import type { Opened } from './fixture.ts';
import { fixtures } from './fixtures.ts';

const root = path.dirname(path.dirname(import.meta.dirname));
const never = new AbortController().signal;

function desire(
  kind: AnyKind,
  spec: Record<string, unknown>,
  more: Partial<Desired<Record<string, unknown>>> = {},
) {
  return {
    key: `${kind.kind}/contract`,
    spec: kind.spec.parse(spec),
    host: { name: 'contract', address: '127.0.0.1', labels: {} },
    digest: digestOf(spec),
    heal: false,
    held: [],
    inputs: {},
    memory: undefined,
    // Here a secret from the environment is its variable's name.
    content: (value) =>
      typeof value === 'string'
        ? { bytes: Buffer.from(value), secret: false }
        : { bytes: Buffer.from('env' in value.secretFrom ? value.secretFrom.env : ''), secret: true },
    ...more,
  } satisfies Desired<Record<string, unknown>>;
}

/** Observe, diff, prepare, apply, as the loop does. */
async function bring(kind: AnyKind, d: Desired<Record<string, unknown>>, ports: Ports) {
  const observed = await kind.observe(d, ports, never);
  const changes = kind.diff(d, observed);
  const snapshot = await kind.prepare(d, observed, ports, never);
  const { memory } = await kind.apply(changes, d, ports, never);
  return { snapshot, changes, after: { ...d, memory, heal: true } };
}

async function differences(kind: AnyKind, d: Desired<Record<string, unknown>>, ports: Ports) {
  return kind.diff(d, await kind.observe(d, ports, never));
}

/** A kind that only reports tells each breakage with its evidence, and no longer once somebody mended it. */
async function reportsOnly(
  kind: AnyKind,
  d: Desired<Record<string, unknown>>,
  ports: Ports,
  breakages: Opened['breakages'],
  repair: NonNullable<Opened['repair']>,
): Promise<void> {
  const judged = async () => {
    const observed = await kind.observe(d, ports, never);
    assert.deepEqual(kind.diff(d, observed), [], 'it is no drift');
    return kind.judge!(d, observed);
  };
  assert.deepEqual(await judged(), { verdict: 'Yes' });
  for (const [name, breakIt] of Object.entries(breakages)) {
    await breakIt();
    const verdict = await judged();
    assert.equal(verdict.verdict, 'No', `${name}: not seen`);
    assert.ok('evidence' in verdict && verdict.evidence !== '', `${name}: without evidence`);
    await repair();
    assert.deepEqual(await judged(), { verdict: 'Yes' }, `${name}: still told after it was mended`);
  }
}

function record(
  d: Desired<Record<string, unknown>>,
  kind: AnyKind,
  original: InventoryRecord['original'],
): InventoryRecord {
  return {
    key: d.key,
    owns: kind.owns(d.spec),
    origin: original.existed ? 'adopted' : 'created',
    original,
    policy: 'delete',
    memory: d.memory,
    content: d.content,
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
        assert.deepEqual(await differences(kind, after, ports), []);
        const before = await fingerprint();
        await kind.apply([], after, ports, never);
        assert.equal(await fingerprint(), before);
      }
    },
  );

  contract('observe, diff and prepare leave nothing behind', async ({ ports, specs, fingerprint }) => {
    const d = desire(kind, specs[0]);
    const before = await fingerprint();
    const observed = await kind.observe(d, ports, never);
    kind.diff(d, observed);
    await kind.prepare(d, observed, ports, never);
    assert.equal(await fingerprint(), before);
  });

  contract(
    'the snapshot survives JSON and takes the host back, whole',
    async ({ ports, specs, fingerprint }) => {
      const untouched = await fingerprint();
      const first = desire(kind, specs[0]);
      const one = await bring(kind, first, ports);
      const withFirst = await fingerprint();
      const two = await bring(kind, desire(kind, specs[1], { memory: one.after.memory, known: true }), ports);
      const way = JSON.parse(JSON.stringify(two.snapshot));
      await kind.undo(way, record(two.after, kind, one.snapshot), ports, never);
      assert.equal(await fingerprint(), withFirst, 'back to the state before the second');
      assert.deepEqual(await differences(kind, one.after, ports), []);
      const original = JSON.parse(JSON.stringify(one.snapshot));
      await kind.undo(original, record(one.after, kind, original), ports, never);
      assert.equal(await fingerprint(), untouched, 'back to the state before homeostat');
    },
  );

  contract('every breakage is seen and mended', async ({ ports, specs, breakages, repair }) => {
    const { after } = await bring(kind, desire(kind, specs[0]), ports);
    assert.ok(Object.keys(breakages).length >= 4, 'a kind is broken in at least four ways');
    assert.equal(repair !== undefined, kind.judge !== undefined, 'it heals, or it judges');
    if (repair !== undefined) return await reportsOnly(kind, after, ports, breakages, repair);
    for (const [name, breakIt] of Object.entries(breakages)) {
      await breakIt();
      const changes = await differences(kind, after, ports);
      assert.ok(changes.length > 0, `${name}: not seen`);
      await kind.apply(changes, after, ports, never);
      assert.deepEqual(await differences(kind, after, ports), [], `${name}: not mended`);
    }
  });

  contract(
    'a watch arms, wakes once, wakes at a change, and ends promptly',
    async ({ ports, specs, breakages }) => {
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
      await Object.values(breakages)[0]!();
      await woken.promise;
      stop.abort();
      await ended;
    },
  );

  contract('claims are unique and stay the same for the same spec', async ({ specs, repair }) => {
    for (const spec of specs) {
      const claims = kind.owns(kind.spec.parse(spec));
      // Who changes nothing has nothing to own.
      assert.equal(claims.length > 0, repair === undefined);
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
