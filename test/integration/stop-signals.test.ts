// The agent and the controller as processes that get signals to stop: they end in order, and a signal that is repeated
// cuts nothing off.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import * as z from 'zod';
import { agentFiles } from '../bench/agents.ts';
import { eventually } from '../support/eventually.ts';
import { resource } from '../support/manifest.ts';
import { PROGRAM } from '../support/program.ts';
import { temporaryDirectory } from '../support/sandbox.ts';

const Line = z.looseObject({ msg: z.string() });
type Line = z.infer<typeof Line>;

/** The PROGRAM as a process; its log can be waited for. */
function start(t: TestContext, args: readonly string[], env: Record<string, string | undefined>) {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
  t.after(() => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  });
  const ended = once(child, 'exit');
  const lines: Line[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(Line.parse(JSON.parse(line))));
  const logged = (msg: string): Promise<Line> =>
    eventually(() => {
      const found = lines.find((line) => line.msg === msg);
      assert.ok(found, `no "${msg}" in ${JSON.stringify(lines)}`);
      return found;
    });
  return { child, ended, logged };
}

const alive = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null;

/** Programs in the place of apt's; `apt-get install` waits until the gate is opened. */
function programs(directory: string) {
  const at = (name: string): string => path.join(directory, name);
  execFileSync('mkfifo', [at('gate')]);
  const policy =
    'demo:\n  Installed: (none)\n  Candidate: 1.0\n  Version table:\n     1.0 500\n        500 x';
  const install = `: >${at('runs')}; read -r _ <${at('gate')}; echo words; : >${at('ended')}`;
  const script = (name: string, text: string): void =>
    fs.writeFileSync(at(name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  script('apt-cache', `cat <<'END'\n${policy}\nEND`);
  script(
    'apt-get',
    `case "$*" in *--simulate*|*--download-only*|*" update "*) ;; *" install "*) ${install} ;; esac`,
  );
  script('dpkg', 'exit 0');
  return { runs: () => fs.existsSync(at('runs')), ended: () => fs.existsSync(at('ended')), gate: at('gate') };
}

/** A sandbox root for an agent whose one resource is a package. */
function sandbox(t: TestContext) {
  const directory = temporaryDirectory(t);
  const at = (name: string): string => path.join(directory, name);
  for (const name of ['bin', 'state', 'root/var/lib/dpkg']) fs.mkdirSync(at(name), { recursive: true });
  fs.writeFileSync(at('root/var/lib/dpkg/status'), '');
  const apt = programs(at('bin'));
  return { at, apt, env: { PATH: `${at('bin')}:${process.env['PATH']}` } };
}

function agentWithPackage(t: TestContext) {
  const { at, apt, env } = sandbox(t);
  const files = agentFiles([resource('Package', 'demo', { name: 'demo' })], {
    root: at('root'),
    stateDir: at('state'),
    socket: at('agent.sock'),
  });
  fs.writeFileSync(at('agent.json'), files['agent.json']);
  fs.writeFileSync(at('state/bundle.json'), files['bundle.json']);
  return { apt, ...start(t, ['agent', '--config', at('agent.json')], env) };
}

/** `homeostat once` with the same package. @param aptGet in the place of all that apt-get does */
function onceWithPackage(t: TestContext, more: readonly string[] = [], aptGet?: string) {
  const { at, apt, env } = sandbox(t);
  if (aptGet !== undefined) fs.writeFileSync(at('bin/apt-get'), aptGet);
  const document = (kind: string, name: string, fields: object): string =>
    JSON.stringify({ apiVersion: 'homeostat.dev/v1', kind, metadata: { name }, ...fields });
  fs.mkdirSync(at('manifests'));
  const all = [
    document('Host', 'pi', { spec: { mode: 'enforce' } }),
    document('Package', 'demo', { hosts: { all: true }, spec: { name: 'demo' } }),
  ];
  fs.writeFileSync(at('manifests/all.yaml'), all.join('\n---\n'));
  const where = ['--dir', at('manifests'), '--host', 'pi', '--root', at('root'), '--state', at('state')];
  const child = spawn(process.execPath, [PROGRAM, 'once', ...where, ...more], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env, NO_COLOR: '1' },
  });
  t.after(() => void child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const said = (pattern: RegExp): Promise<void> => eventually(() => assert.match(output, pattern));
  return { apt, child, ended: once(child, 'close'), said };
}

test('SIGTERM while a program runs: the agent sees it to its end, also when the signal is repeated', async (t) => {
  const { apt, child, ended, logged } = agentWithPackage(t);
  await eventually(() => assert.ok(apt.runs(), 'apt-get install runs'));
  child.kill('SIGTERM');
  assert.equal((await logged('agent stops'))['signal'], 'SIGTERM');
  for (const signal of ['SIGTERM', 'SIGINT'] as const) child.kill(signal);
  await logged('agent stops already, and waits for what runs to end');
  assert.ok(alive(child) && !apt.ended());
  fs.writeFileSync(apt.gate, '\n');
  assert.deepEqual(await ended, [0, null]);
  assert.ok(apt.ended());
});

test('SIGINT while once runs a program: it sees it to its end, also when the signal is repeated', async (t) => {
  const { apt, child, ended, said } = onceWithPackage(t);
  await eventually(() => assert.ok(apt.runs(), 'apt-get install runs'));
  child.kill('SIGINT');
  await said(/^SIGINT: nothing new is begun, and what runs is seen to its end$/m);
  child.kill('SIGINT');
  await said(/^SIGINT: it stops already/m);
  await said(/^0 of 1 ready$/m);
  assert.ok(alive(child) && !apt.ended());
  fs.writeFileSync(apt.gate, '\n');
  assert.deepEqual(await ended, [2, null]);
  assert.ok(apt.ended());
});

test('once ends when its time is over, though a program would run on', async (t) => {
  const { ended, said } = onceWithPackage(t, ['--timeout', '0.1'], '#!/bin/sh\nexec sleep 1000\n');
  assert.deepEqual(await ended, [2, null]);
  await said(/^0 of 1 ready$/m);
});

test('SIGKILL while dpkg works: it goes on, and can go on writing what it has to say', async (t) => {
  const { apt, child, ended } = agentWithPackage(t);
  await eventually(() => assert.ok(apt.runs(), 'apt-get install runs'));
  child.kill('SIGKILL');
  await ended;
  fs.writeFileSync(apt.gate, '\n');
  await eventually(() => assert.ok(apt.ended()));
});

test('SIGTERM while the controller waits for git: git is ended, and the controller in order', async (t) => {
  const directory = temporaryDirectory(t);
  const at = (name: string): string => path.join(directory, name);
  execFileSync('git', ['init', '-q', '-b', 'main', at('repo')]);
  fs.mkdirSync(at('bin'));
  // Of a repository without a commit it asks which branches there are. This git answers never.
  const hang = `*for-each-ref*) echo $$ >${at('pid.new')}; mv ${at('pid.new')} ${at('pid')}; exec sleep 1000 ;;`;
  const git = execFileSync('sh', ['-c', 'command -v git'], { encoding: 'utf8' }).trim();
  fs.writeFileSync(at('bin/git'), `#!/bin/sh\ncase "$*" in ${hang} esac\nexec ${git} "$@"\n`, {
    mode: 0o755,
  });
  const where = ['--repo', at('repo'), '--state', at('state'), '--listen', '127.0.0.1:0'];
  const { child, ended, logged } = start(t, ['controller', ...where], {
    PATH: `${at('bin')}:${process.env['PATH']}`,
  });
  await eventually(() => assert.ok(fs.existsSync(at('pid')), 'git runs'));
  const pid = Number(fs.readFileSync(at('pid'), 'utf8'));
  child.kill('SIGTERM');
  child.kill('SIGTERM');
  await logged('controller is being stopped');
  await logged('controller stopped');
  assert.deepEqual(await ended, [0, null]);
  // Nobody may have collected it yet: a process that ended is no longer there, or is a zombie.
  await eventually(() => {
    const stat = fs.existsSync(`/proc/${pid}/stat`) ? fs.readFileSync(`/proc/${pid}/stat`, 'utf8') : ') Z';
    assert.match(stat, /\) [ZX]/);
  });
});
