// What AlloyConfig says of an Alloy, and how it goes back: the kind alone, against a fake Alloy.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { createFiles } from '../../../agent/providers/files.ts';
import { Before } from '../../../kinds/alloy-config/assess.ts';
import { componentsIn, missingComponents } from '../../../kinds/alloy-config/components.ts';
import { alloyConfig } from '../../../kinds/alloy-config/index.ts';
import type { Desired } from '../../../kinds/kind.ts';
import type { Ports } from '../../../kinds/ports.ts';
import { FakeClock } from '../../support/clock.ts';
import { desiredOf } from '../../support/desired.ts';
import { AlloyUnit, FakeAlloy } from '../../support/fake-alloy.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

const never = new AbortController().signal;
const CRASHED = { activeState: 'failed', subState: 'failed', result: 'exit-code' } as const;
const BEFORE = 'prometheus.scrape "before" { }\n';
const OURS = 'prometheus.scrape "ours" { }\n';
// Its own text does not say so: a variable, or another file.
const LOCKS = '// closed elsewhere: auth { }\nprometheus.scrape "ours" { }\n';

function setting(t: TestContext, before = BEFORE) {
  const config = path.join(temporaryDirectory(t), 'config.alloy');
  fs.writeFileSync(config, before);
  const alloy = new FakeAlloy(config);
  alloy.start();
  const clock = new FakeClock();
  const files = createFiles();
  t.after(() => files.close());
  const units = new AlloyUnit(alloy, temporaryDirectory(t), clock);
  const ports = {
    files,
    units,
    clock,
    http: alloy.http,
    processes: alloy.processes,
  } as Partial<Ports> as Ports;

  const desired = (content: string, more: object = {}, heal = false) =>
    desiredOf('AlloyConfig/alloy', alloyConfig.spec.parse({ path: config, content, ...more }), {
      digest: content,
      heal,
      content: (value) => ({ bytes: Buffer.from(String(value)), secret: content.includes('secret') }),
    });
  const differences = async (d: Desired<Record<string, unknown>>) =>
    alloyConfig.diff(d, await alloyConfig.observe(d, ports, never));
  /** As the loop begins a change: what `prepare` recorded, read back. */
  const begin = async (d: Desired<Record<string, unknown>>) => {
    const observed = await alloyConfig.observe(d, ports, never);
    const { before } = await alloyConfig.prepare(d, observed, ports, never);
    await alloyConfig.apply(alloyConfig.diff(d, observed), d, ports, never);
    return Before.parse(JSON.parse(JSON.stringify(before)));
  };
  const assess = async (d: Desired<Record<string, unknown>>, before?: unknown, elapsedMs = 0) => {
    const observed = await alloyConfig.observe(d, ports, never);
    assert.deepEqual(alloyConfig.diff(d, observed), []);
    const trial = before === undefined ? undefined : { before, elapsedMs };
    const verdict = alloyConfig.assess(d, observed, trial);
    return verdict.verdict === 'Yes' ? ['Yes'] : [verdict.verdict, verdict.reason, verdict.evidence];
  };
  const undo = (before: unknown) => {
    const record = { ...desired(''), owns: [] };
    return alloyConfig.undo(before, record, ports, never);
  };
  return { config, alloy, units, desired, differences, begin, assess, undo, ports };
}

test('Alloy is asked nothing while its file differs, and everything once when it is right', async (t) => {
  const { alloy, desired, differences, begin } = setting(t);
  await differences(desired(OURS));
  assert.deepEqual(alloy.asked, []);
  await begin(desired(OURS));
  alloy.asked.length = 0;
  assert.deepEqual(await differences(desired(OURS, {}, true)), []);
  assert.deepEqual(alloy.asked.sort(), [
    'GET /-/healthy',
    'GET /-/ready',
    'GET /api/v0/web/components',
    'GET /metrics',
  ]);
});

test('a component that is not healthy may become so within the gate, and is No after it, with its name', async (t) => {
  const { alloy, desired, begin, assess } = setting(t);
  const d = desired(OURS);
  const before = await begin(d);
  assert.deepEqual(await assess(d, before), ['Yes']);
  alloy.unhealthy = [{ localID: 'prometheus.scrape.ours', message: 'no such target' }];
  assert.deepEqual((await assess(d, before, 14_999)).slice(0, 2), ['Unknown', 'Unhealthy']);
  const said = ['No', 'Unhealthy', 'prometheus.scrape.ours: unhealthy: no such target'];
  assert.deepEqual(await assess(d, before, 15_000), said);
  assert.deepEqual(await assess(d), said, 'not on trial, after any restart of the agent');
});

test('a component that was not healthy before the change is not blamed on it', async (t) => {
  const { alloy, desired, begin, assess } = setting(t);
  const broken = { localID: 'loki.write.central', message: 'no' };
  alloy.unhealthy = [broken];
  const d = desired(OURS);
  const before = await begin(d);
  alloy.unhealthy = [broken];
  assert.deepEqual((await assess(d, before, 60_000)).slice(0, 2), ['Unknown', 'Unhealthy']);
  alloy.unhealthy = [broken, { localID: 'prometheus.scrape.ours', message: 'no' }];
  assert.deepEqual((await assess(d, before, 60_000)).slice(0, 2), ['No', 'Unhealthy']);
});

test('of a secret config only the names of its components are reported', async (t) => {
  const { alloy, desired, begin, assess } = setting(t);
  const d = desired('// secret\n');
  const before = await begin(d);
  alloy.unhealthy = [{ localID: 'loki.write.central', message: 'decoding: "hunter2"' }];
  assert.deepEqual(await assess(d, before, 60_000), ['No', 'Unhealthy', 'loki.write.central']);
});

test('an Alloy that is starting is waited for, and one that never gets ready is No', async (t) => {
  const { alloy, ports, desired, begin, assess } = setting(t);
  const d = desired(OURS);
  const before = await begin(d);
  Object.assign(alloy, { ready: false, startedAtMs: ports.clock.now() - 59_000 });
  assert.deepEqual((await assess(d)).slice(0, 2), ['Unknown', 'AlloyStarting']);
  alloy.startedAtMs -= 1000;
  assert.deepEqual((await assess(d)).slice(0, 2), ['No', 'AlloyNotReady']);
  assert.deepEqual((await assess(d, before)).slice(0, 2), ['No', 'AlloyNotReady']);
  assert.deepEqual((await assess(d, { ...before, healthy: false })).slice(0, 2), [
    'Unknown',
    'AlloyNotReady',
  ]);
});

test('a change with which a running Alloy ends by itself is refused after a short grace', async (t) => {
  const { alloy, units, desired, begin, assess } = setting(t);
  const d = desired(OURS);
  const before = await begin(d);
  alloy.running = false;
  units.ended = CRASHED;
  assert.deepEqual((await assess(d, before, 2_999)).slice(0, 2), ['Unknown', 'AlloyStopped']);
  const [verdict, reason, evidence] = await assess(d, before, 3_000);
  assert.deepEqual([verdict, reason], ['No', 'AlloyStopped']);
  assert.match(evidence!, /ran before the change, and ended with it.*alloy\.service is failed \(exit-code\)/);
  // Between two tries of systemd.
  units.ended = { activeState: 'activating', subState: 'auto-restart', result: 'exit-code' };
  assert.deepEqual((await assess(d, before, 3_000)).slice(0, 2), ['No', 'AlloyStopped']);
});

test('an Alloy that somebody stopped, is starting, or never ran is no fault of its config', async (t) => {
  const { alloy, units, desired, begin, assess } = setting(t);
  const d = desired(OURS);
  const before = await begin(d);
  alloy.running = false;
  assert.deepEqual((await assess(d, before, 600_000)).slice(0, 2), ['Unknown', 'AlloyNotRunning']);
  units.ended = { activeState: 'activating', subState: 'start', result: 'success' };
  assert.deepEqual((await assess(d, before, 600_000)).slice(0, 2), ['Unknown', 'AlloyUnreachable']);
  units.ended = CRASHED;
  const first = { ...before, ran: false, healthy: false, answered: false };
  assert.deepEqual((await assess(d, first, 600_000)).slice(0, 2), ['Unknown', 'AlloyNotRunning']);
  assert.deepEqual((await assess(d)).slice(0, 2), ['Unknown', 'AlloyNotRunning'], 'not on trial');
});

test('a config that Alloy refuses at its first start is to blame, in Alloy’s own words', async (t) => {
  const { alloy, units, config, desired, begin, assess } = setting(t);
  const d = desired(OURS);
  const first = { ...(await begin(d)), ran: false, healthy: false, answered: false };
  alloy.running = false;
  units.ended = CRASHED;
  const asked: number[] = [];
  const log = (...lines: string[]) => {
    units.output = async (_, sinceMs) => {
      asked.push(sinceMs);
      return lines.join('\n');
    };
  };
  const line = `${config}:8:1: Failed to build component: scrape_timeout (10s) greater than scrape_interval (2s)`;
  log(`Error: ${line}`, '8 | prometheus', 'Error: could not perform the initial load successfully');
  const [verdict, reason, evidence = ''] = await assess(d, first);
  assert.deepEqual([verdict, reason], ['No', 'LoadRefused']);
  assert.ok(evidence.includes(line), evidence);
  assert.deepEqual(asked, [fs.statSync(config).mtimeMs], 'only what was written since the file was');
  assert.equal((await assess(d))[0], 'Unknown', 'one that was confirmed is not rolled back');
  log('Error: /etc/other.alloy:1:1: no', 'Error: listen tcp 127.0.0.1:12345: bind: address already in use');
  assert.deepEqual((await assess(d, first, 600_000)).slice(0, 2), ['Unknown', 'AlloyNotRunning']);
});

test('without a manager to ask, an Alloy that is gone for the gate’s time has ended', async (t) => {
  const { alloy, desired, begin, assess } = setting(t);
  const d = desired(OURS, { manager: 'none' });
  const before = await begin(d);
  alloy.running = false;
  assert.deepEqual((await assess(d, before, 14_999)).slice(0, 2), ['Unknown', 'AlloyStopped']);
  assert.deepEqual((await assess(d, before, 15_000)).slice(0, 2), ['No', 'AlloyStopped']);
});

test('an Alloy that hangs with a new config is refused in the end; a hanging one is Unknown otherwise', async (t) => {
  const { alloy, desired, begin, assess } = setting(t);
  const d = desired(OURS);
  const before = await begin(d);
  alloy.hangs = true;
  assert.deepEqual((await assess(d, before, 59_999)).slice(0, 2), ['Unknown', 'AlloySilent']);
  assert.deepEqual((await assess(d, before, 60_000)).slice(0, 2), ['No', 'AlloySilent']);
  assert.deepEqual((await assess(d)).slice(0, 2), ['Unknown', 'AlloySilent']);
});

for (const [how, text] of [
  ['asks for a password', LOCKS],
  ['speaks TLS', LOCKS.replace('auth', 'tls')],
] as const) {
  test(`a config with which Alloy ${how} is refused, and undone without its API`, async (t) => {
    const { config, alloy, units, desired, begin, assess, undo } = setting(t);
    const d = desired(text);
    const before = await begin(d);
    const [verdict, reason, evidence] = await assess(d, before, 3_000);
    assert.deepEqual([verdict, reason], ['No', 'LockedOut']);
    assert.match(evidence!, /authenticate_matching_paths = false/, 'what would be right');
    await undo(before);
    assert.equal(fs.readFileSync(config, 'utf8'), BEFORE);
    assert.equal(alloy.loaded, BEFORE);
    assert.deepEqual(units.log, ['reload alloy.service']);
    const third = desired(OURS);
    assert.deepEqual(await assess(third, await begin(third)), ['Yes']);
  });
}

test('a commit after an undo that never came about gets in by the runner, too', async (t) => {
  const { alloy, units, desired, begin, assess } = setting(t);
  const before = await begin(desired(LOCKS));
  const third = desired(OURS);
  await begin(third);
  assert.equal(alloy.loaded, OURS);
  assert.deepEqual(units.log, ['reload alloy.service']);
  assert.deepEqual(await assess(third, before), ['Yes']);
});

test('a unit that can’t reload is restarted; one that does not run, or nobody’s, is an error that says so', async (t) => {
  const { alloy, units, desired, begin, undo } = setting(t);
  const before = await begin(desired(LOCKS));
  units.reloads = false;
  await undo(before);
  assert.deepEqual(units.log, ['reload alloy.service', 'restart alloy.service']);
  await begin(desired(LOCKS));
  const { runner: _, ...unnamed } = before;
  await assert.rejects(undo(unnamed), /answers 401, and nobody is named who runs Alloy \(manager: none\)/);
  assert.equal(alloy.loaded, LOCKS);
});

test('a confirmed config behind a closed API is a difference, since something else was loaded', async (t) => {
  const { alloy, desired, begin, differences, ports } = setting(t);
  await begin(desired(OURS));
  alloy.loaded = LOCKS;
  const d = desired(OURS, {}, true);
  const changes = await differences(d);
  assert.match(changes[0]!.from, /closes its API .*answers 401/);
  await alloyConfig.apply(changes, d, ports, never);
  assert.deepEqual(await differences(d), []);
});

test('a refused load is seen by an agent that knows nothing of it', async (t) => {
  const { alloy, desired, begin, differences, assess } = setting(t);
  await begin(desired(OURS));
  const d = desired(OURS, {}, true);
  alloy.refuse('reference to nothing');
  assert.match((await differences(d))[0]!.from, /without prometheus\.scrape\.ours/);
  alloy.refuse('syntax');
  assert.match((await differences(d))[0]!.from, /could not read this one/);
  alloy.refuse('evaluation');
  assert.deepEqual((await assess(d)).slice(0, 2), ['No', 'Unhealthy']);
});

test('an undo puts file and load back, and leaves it to the next look whether Alloy is well', async (t) => {
  const { alloy, desired, begin, undo } = setting(t);
  alloy.unhealthy = [{ localID: 'loki.write.other', message: 'no' }];
  const before = await begin(desired(OURS));
  alloy.refuses = () => 'the unrelated one again';
  await undo(before);
  assert.equal(alloy.loaded, BEFORE);
  // One that was well, and refuses its own config now, is not back.
  await assert.rejects(undo({ ...before, healthy: true }), /refuses what it ran before: .*unrelated/);
});

test('long bodies are clipped', async (t) => {
  const { alloy, desired, begin } = setting(t);
  const lengthOf = () =>
    begin(desired(OURS)).then(
      () => 0,
      (error: Error) => error.message.length,
    );
  alloy.refuses = () => 'x'.repeat(1_000_000);
  assert.ok((await lengthOf()) < 2_200);
  alloy.invalid = () => 'y'.repeat(1_000_000);
  assert.ok((await lengthOf()) < 2_200);
});

test('a snapshot of release 0.1 is undone, and judges as far as it goes', async (t) => {
  const { alloy, desired, begin, assess, undo } = setting(t);
  const d = desired(OURS);
  const { runner: _, answered: __, unhealthy: ___, ...old } = await begin(d);
  alloy.unhealthy = [{ localID: 'prometheus.scrape.ours', message: 'no' }];
  assert.deepEqual((await assess(d, old, 60_000)).slice(0, 2), ['No', 'Unhealthy']);
  assert.deepEqual((await assess(d, { ...old, healthy: false }, 60_000)).slice(0, 2), [
    'Unknown',
    'Unhealthy',
  ]);
  await undo(old);
  assert.equal(alloy.loaded, BEFORE);
});

test('the components of a config are found, and nothing that only looks like one', () => {
  const text = `
    // prometheus.scrape "comment" { }
    /* loki.write "comment" { */
    logging { level = "info" }
    prometheus.scrape "a" { forward_to = [] }
    loki.process "b" {
      stage.json { expressions = { x = "}{" } }
      stage.template "inner" { template = \`{ prometheus.scrape "raw" { \` }
    }
    import.file "mine" { filename = "/etc/alloy/mine.alloy" }
    mine.thing "c" { }
    declare "own" {
      prometheus.scrape "inside" { }
    }
    own "d" { }
    local.file "e" { filename = "//x" }`;
  assert.deepEqual(componentsIn(text), ['prometheus.scrape.a', 'loki.process.b', 'local.file.e']);
  const health = { state: 'healthy', message: '' };
  assert.deepEqual(missingComponents(text, [{ localID: 'loki.process.b', health }]), [
    'prometheus.scrape.a',
    'local.file.e',
  ]);
});

test('the unit is asked for, since it may be reloaded; nothing of the kind for an Alloy that nobody runs', () => {
  const permissions = (more: object) =>
    alloyConfig
      .permissions(alloyConfig.spec.parse({ content: 'x', ...more }))
      .map(({ type, value }) => `${type} ${value}`);
  assert.ok(permissions({}).includes('unit alloy.service'));
  assert.ok(permissions({ unit: 'x.service', manager: 'supervised' }).includes('unit x.service'));
  assert.ok(!permissions({ manager: 'none' }).some((ask) => ask.startsWith('unit')));
});
