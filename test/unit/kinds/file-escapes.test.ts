// Ways out of the paths that a host's owner granted to File documents, as a controller that is taken over would try
// them: its own checks are left out, and what the agent itself does has to hold.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { AgentConfig } from '../../../agent/config.ts';
import { createAgent } from '../../../agent/main.ts';
import { createFiles } from '../../../agent/providers/files.ts';
import { createLog } from '../../../agent/providers/log.ts';
import { ownFiles } from '../../../agent/providers/parents.ts';
import { isGranted } from '../../../agent/reconcile/allow.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { resource } from '../../support/timeline.ts';

const SHADOW = 'root:secret\n';

/** A host with a directory that is granted, and things beside it that are not. */
function host(t: TestContext, allow: Record<string, unknown> = {}) {
  const directory = temporaryDirectory(t);
  const at = (p: string): string => path.join(directory, p);
  for (const name of ['srv/app', 'etc', 'state']) fs.mkdirSync(at(name), { recursive: true });
  fs.writeFileSync(at('etc/shadow'), SHADOW, { mode: 0o600 });
  const config = AgentConfig.parse({
    host: 'testhost',
    stateDir: at('state'),
    socket: at('state/agent.sock'),
    allow: { kinds: ['File'], paths: [`${at('srv/app')}/`], ...allow },
  });
  const { agent, ports } = createAgent(config, 'test', createLog('silent'), { configFile: at('agent.json') });
  t.after(async () => {
    await agent.stop();
    await ports.close();
  });
  const once = async (spec: Record<string, unknown>, mode: 'enforce' | 'observe' = 'enforce') => {
    agent.load();
    const { resources } = await agent.runOnce(
      {
        sequence: 1,
        commit: 'c',
        payload: {
          apiVersion: 'homeostat.dev/v1',
          host: { name: 'testhost', labels: {}, mode, decommission: false, confirmRemovals: [] },
          resources: [resource('File', 'x', spec)],
        },
      },
      10_000,
    );
    const ready = resources[0]?.conditions.find(({ type }) => type === 'Ready');
    return { reason: ready?.reason ?? '', message: ready?.message ?? '' };
  };
  return { at, once, ports };
}

const untouched = (p: string): void => {
  assert.equal(fs.readFileSync(p, 'utf8'), SHADOW);
  assert.equal(fs.statSync(p).mode & 0o777, 0o600);
};

test('a link needs a grant for where it leads, however that is written', async (t) => {
  const targets: Record<string, (at: (p: string) => string) => string> = {
    'to everything': () => '/',
    absolute: (at) => at('etc/shadow'),
    relative: () => '../../etc/shadow',
    'to a directory': (at) => at('etc'),
    'through a link of the host': (at) => {
      fs.symlinkSync(at('etc'), at('srv/app/theirs'));
      return 'theirs/shadow';
    },
    'to a link to a link': (at) => {
      fs.symlinkSync(at('etc/shadow'), at('srv/app/one'));
      fs.symlinkSync('one', at('srv/app/two'));
      return 'two';
    },
    'by way of a process': () => '/proc/self/root/etc/shadow',
    'out of a directory by its parent': () => 'missing/../../../etc/shadow',
  };
  for (const [name, target] of Object.entries(targets)) {
    const { at, once } = host(t);
    const { reason } = await once({ path: at('srv/app/x'), type: 'symlink', target: target(at) });
    assert.ok(['NotAllowed', 'Unsupported'].includes(reason), `${name}: ${reason}`);
    assert.equal(fs.existsSync(at('srv/app/x')), false, name);
  }
});

test('a link within what is granted is made, and one to a directory needs the grant of all that is in it', async (t) => {
  const first = host(t);
  fs.mkdirSync(first.at('srv/app/releases/3'), { recursive: true });
  const link = { path: first.at('srv/app/current'), type: 'symlink', target: 'releases/3' };
  assert.equal((await first.once(link)).reason, 'Applied');
  assert.equal(fs.readlinkSync(first.at('srv/app/current')), 'releases/3');

  const second = host(t);
  fs.mkdirSync(second.at('opt/tool'), { recursive: true });
  const exact = host(t, { paths: [second.at('srv/app/x'), second.at('opt/tool')] });
  const whole = { path: second.at('srv/app/x'), type: 'symlink', target: second.at('opt/tool') };
  assert.equal((await exact.once(whole)).reason, 'NotAllowed');
});

test('a path that leads elsewhere is refused before anything there is looked at', async (t) => {
  for (const mode of ['enforce', 'observe'] as const) {
    const { at, once } = host(t);
    fs.symlinkSync(at('etc'), at('srv/app/theirs'));
    const { reason, message } = await once({ path: at('srv/app/theirs/shadow'), content: 'mine' }, mode);
    assert.equal(reason, 'NotAllowed', message);
    assert.doesNotMatch(message, /bytes/);
    untouched(at('etc/shadow'));
  }
});

test('no directory is made where a link leads to', async (t) => {
  const { at, once } = host(t);
  fs.symlinkSync(at('etc'), at('srv/app/theirs'));
  assert.equal((await once({ path: at('srv/app/theirs/new/deep/x'), content: '' })).reason, 'NotAllowed');
  assert.equal(fs.existsSync(at('etc/new')), false);
});

test('a file with other names gets an inode of its own, and what the others hold stays as it was', async (t) => {
  const { at, once } = host(t);
  fs.linkSync(at('etc/shadow'), at('srv/app/x'));
  assert.equal((await once({ path: at('srv/app/x'), content: SHADOW, mode: '0666' })).reason, 'Applied');
  assert.equal(fs.statSync(at('srv/app/x')).mode & 0o777, 0o666);
  untouched(at('etc/shadow'));
});

test('a file with other names is not written in place', async (t) => {
  const { at, once } = host(t);
  fs.linkSync(at('etc/shadow'), at('srv/app/x'));
  const { reason } = await once({ path: at('srv/app/x'), content: 'mine', inPlace: true });
  assert.equal(reason, 'HardLinked');
  untouched(at('etc/shadow'));
});

test('what a file with other names holds is not shown', async (t) => {
  const { at, ports } = host(t);
  fs.linkSync(at('etc/shadow'), at('srv/app/x'));
  const state = ports.files.read(at('srv/app/x'));
  assert.ok(state.type === 'file');
  assert.equal(state.links, 2);
  const { fileChanges } = await import('../../../kinds/managed-file.ts');
  const [change] = fileChanges('content', state, { path: 'x', bytes: Buffer.from('y'), secret: false });
  assert.equal(change!.text!.secret, true);
});

test('nothing of the agent’s own is read, written, moved or opened, and no directory above it', async (t) => {
  const everything = { paths: ['/'], users: ['*'], rootEquivalent: ['*'] };
  const specs: Record<string, (at: (p: string) => string) => Record<string, unknown>> = {
    'its state': (at) => ({ path: at('state/seal.key'), content: '' }),
    'its configuration': (at) => ({ path: at('agent.json'), content: '{}' }),
    'the mode of a directory above': (at) => ({
      path: at('.').replace(/\/$/, ''),
      type: 'directory',
      mode: '0777',
    }),
    'its directory as a link': (at) => ({ path: at('state'), type: 'symlink', target: at('srv/app') }),
    'a link to it': (at) => ({ path: at('srv/app/x'), type: 'symlink', target: at('state') }),
    'a link to a directory above': (at) => ({ path: at('srv/app/x'), type: 'symlink', target: at('.') }),
    'through a link': (at) => {
      fs.symlinkSync(at('state'), at('srv/app/s'));
      return { path: at('srv/app/s/seal.key'), content: '' };
    },
    'by way of a process': (at) => ({ path: `/proc/self/root${at('state/seal.key')}`, content: '' }),
    'its unit': () => ({ path: '/etc/systemd/system/homeostat-agent.service', content: '' }),
    'a drop-in for its unit': () => ({
      path: '/etc/systemd/system/homeostat-.service.d/x.conf',
      content: '',
    }),
    'a drop-in for all units': () => ({ path: '/run/systemd/system/service.d/x.conf', content: '' }),
    'the program that runs it': () => ({ path: fs.realpathSync(process.execPath), content: '' }),
  };
  for (const [name, spec] of Object.entries(specs)) {
    const { at, once } = host(t, everything);
    const { reason, message } = await once(spec(at));
    assert.equal(reason, 'NotAllowed', `${name}: ${message}`);
    assert.match(message, /agent’s own/, name);
  }
});

test('a hard link to one of the agent’s own files is neither read nor changed', async (t) => {
  const { at, once } = host(t);
  fs.writeFileSync(at('state/agent.key'), 'key', { mode: 0o600 });
  fs.linkSync(at('state/agent.key'), at('srv/app/x'));
  const { reason } = await once({ path: at('srv/app/x'), content: 'key', mode: '0644' });
  assert.equal(reason, 'AgentsOwn');
  assert.equal(fs.statSync(at('state/agent.key')).mode & 0o777, 0o600);
});

test('pipes and devices are neither waited for nor written', async (t) => {
  const { at, once, ports } = host(t);
  const fifo = at('srv/app/x');
  const { execFileSync } = await import('node:child_process');
  execFileSync('mkfifo', [fifo]);
  assert.equal((await once({ path: fifo, content: 'x', inPlace: true })).reason, 'NotAFile');
  assert.throws(() => ports.files.rewriteInPlace(fifo, Buffer.from('x'), {}), { code: 'ENXIO' });
  assert.throws(() => ports.files.setAttributes(fifo, { mode: 0o666 }), { code: 'NotAFile' });
});

test('a directory that is swapped for a link between the check and the write is never followed', async (t) => {
  const directory = temporaryDirectory(t);
  const at = (p: string): string => path.join(directory, p);
  for (const name of ['srv/app/real', 'etc', 'own']) fs.mkdirSync(at(name), { recursive: true });
  fs.writeFileSync(at('etc/shadow'), SHADOW, { mode: 0o600 });
  const holds = (p: string): boolean => p.startsWith(at('own'));
  const files = createFiles({
    allows: (resolved) =>
      isGranted(
        { type: 'path', value: resolved },
        { allow: AgentConfig.parse({ host: 'h', allow: { paths: [`${at('srv/app')}/`] } }).allow },
      ),
    own: ownFiles(holds, [at('own')]),
  });
  t.after(() => files.close());
  fs.symlinkSync('real', at('srv/app/d'));
  // Another process swaps it without a pause: a directory that is granted, and one that is not.
  const swap = `const fs = require('node:fs'); const [d, ...to] = process.argv.slice(1);
    process.stdout.write('.');
    for (let i = 0; ; i++) { fs.symlinkSync(to[i % 2], d + '.new'); fs.renameSync(d + '.new', d); }`;
  const child = spawn(process.execPath, ['-e', swap, at('srv/app/d'), at('etc'), 'real'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  let [written, refused] = [0, 0];
  for (let i = 0; (written < 100 || refused < 100) && i < 50_000; i++) {
    try {
      files.replaceAtomic(at('srv/app/d/shadow'), Buffer.from('mine'), { mode: 0o666 });
      files.setAttributes(at('srv/app/d/shadow'), { mode: 0o640 });
      written += 1;
    } catch (error) {
      if ((error as { code?: string }).code === 'PathLeadsElsewhere') refused += 1;
    }
    assert.deepEqual(fs.readdirSync(at('etc')), ['shadow']);
    untouched(at('etc/shadow'));
  }
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
  assert.ok(written > 0 && refused > 0, `${written} written, ${refused} refused: there was no race`);
});
