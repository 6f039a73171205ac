// `npm run demo`: a controller on a scratch git repository and an agent in a sandbox directory, without root.
// With --tour it breaks things itself, shows how long each took to heal, and exits 0 only if all healed.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs, styleText } from 'node:util';
import { type AgentStatus, findCondition } from '../api/status.ts';
import { askAgent } from '../cli/socket.ts';
import { type Daemon, daemon, freePort, git, homeostat } from './demo/processes.ts';

const { values: options } = parseArgs({
  options: { tour: { type: 'boolean', default: false }, keep: { type: 'boolean', default: false } },
});
const root = path.dirname(import.meta.dirname);
const place = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-demo-')));
const repo = path.join(place, 'repo');
const sandbox = path.join(place, 'host');
const socket = path.join(place, 'agent.sock');
const agentConfig = path.join(place, 'agent.json');
const daemons: Daemon[] = [];
const TIMEOUT_MS = 30_000;

const say = (text: string) => console.log(text);
const step = (text: string) => console.log(styleText('bold', `\n${text}`));
const ok = (text: string) => console.log(`  ${styleText('green', '✓')} ${text}`);

/** Asks without a pause until it is so. @returns milliseconds it took. @throws Error when it never is. */
async function until(
  what: string,
  check: () => boolean | Promise<boolean>,
  began = performance.now(),
): Promise<number> {
  const ask = async () => check();
  for (;;) {
    if (await ask().catch(() => false)) return performance.now() - began;
    if (performance.now() - began > TIMEOUT_MS) throw new Error(`${what}: not within ${TIMEOUT_MS / 1000} s`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Breaks something. @returns milliseconds from just before that until it is right again. */
async function heals(
  what: string,
  breakIt: () => void,
  isRight: () => boolean | Promise<boolean>,
): Promise<string> {
  const began = performance.now();
  breakIt();
  return ms(await until(what, isRight, began));
}

const ms = (n: number) => styleText('cyan', `${n < 10 ? n.toFixed(1) : Math.round(n)} ms`);
const onHost = (p: string) => path.join(sandbox, p);
const read = (p: string) => fs.readFileSync(onHost(p), 'utf8');

async function agentStatus(): Promise<AgentStatus> {
  const answer = (await askAgent({ socket, config: agentConfig }, 'GET', '/v1/status')) as {
    status: AgentStatus;
  };
  return answer.status;
}

async function ready(key: string, reason?: string): Promise<boolean> {
  const found = (await agentStatus()).resources.find((r) => r.key === key);
  const condition = findCondition(found?.conditions ?? [], 'Ready');
  return reason === undefined ? condition?.status === 'True' : condition?.reason === reason;
}

function alloyProgram(): { program: string; isReal: boolean } {
  const named = process.env['ALLOY_BIN'];
  if (named !== undefined) return { program: named, isReal: true };
  try {
    return { program: execFileSync('which', ['alloy'], { encoding: 'utf8' }).trim(), isReal: true };
  } catch {
    return { program: path.join(root, 'test', 'support', 'alloy', 'alloy'), isReal: false };
  }
}

function commit(message: string, file: string, text: string): void {
  fs.writeFileSync(path.join(repo, file), text);
  git(repo, 'add', '-A');
  git(repo, 'commit', '-qm', message);
}

async function start(): Promise<{ address: string; alloyAddress: string }> {
  const alloy = alloyProgram();
  const [controllerPort, alloyPort] = [await freePort(), await freePort()];
  const alloyAddress = `127.0.0.1:${alloyPort}`;
  fs.mkdirSync(sandbox);
  fs.cpSync(path.join(import.meta.dirname, 'demo', 'manifests'), repo, { recursive: true });
  const manifest = fs
    .readFileSync(path.join(repo, 'demo.yaml'), 'utf8')
    .replace('ALLOY_PROGRAM', alloy.program)
    .replace('ALLOY_ADDRESS', alloyAddress)
    .replace('SANDBOX', sandbox);
  git(place, 'init', '-q', '-b', 'main', repo);
  commit('The first manifests', 'demo.yaml', manifest);

  const state = path.join(place, 'controller');
  const address = `http://127.0.0.1:${controllerPort}`;
  daemons.push(
    daemon(
      path.join(place, 'controller.log'),
      ...[
        'controller',
        '--repo',
        repo,
        '--state',
        state,
        '--listen',
        `127.0.0.1:${controllerPort}`,
        '--open-reads',
      ],
    ),
  );
  await until('the controller', async () => (await fetch(`${address}/readyz`)).ok);
  const token = homeostat('token', 'create', '--host', 'demo', '--state', state).trim().split('\n').at(-1)!;
  homeostat(
    ...['enroll', '--controller', address, '--token', token, '--host', 'demo', '--config', agentConfig],
    ...['--state', path.join(place, 'agent')],
  );
  const config = JSON.parse(fs.readFileSync(agentConfig, 'utf8')) as Record<string, unknown>;
  fs.writeFileSync(
    agentConfig,
    JSON.stringify({
      ...config,
      socket,
      root: sandbox,
      listen: `127.0.0.1:${await freePort()}`,
      // The allow-list, as a host's owner would write it: nothing but this may happen here.
      allow: {
        kinds: ['File', 'AlloyConfig', 'Service'],
        paths: ['/etc/alloy/', '/etc/motd'],
        units: ['alloy.service'],
        exec: [alloy.program],
        urls: [`http://${alloyAddress}`],
        rootEquivalent: ['*'],
      },
    }),
  );
  daemons.push(daemon(path.join(place, 'agent.log'), 'agent', '--config', agentConfig));
  say(
    `Alloy: ${alloy.isReal ? alloy.program : `a stand-in (Grafana Alloy is not on PATH; ALLOY_BIN can name one)`}`,
  );
  return { address, alloyAddress };
}

async function tour(alloyAddress: string): Promise<void> {
  const config = '/etc/alloy/config.alloy';
  const wanted = read(config);

  step('Somebody edits the config by hand');
  const edit = () => fs.appendFileSync(onHost(config), '// a quick fix at night\n');
  ok(`healed after ${await heals('the config', edit, () => read(config) === wanted)}`);

  step('Somebody deletes a file');
  const motd = read('/etc/motd');
  const remove = () => fs.unlinkSync(onHost('/etc/motd'));
  ok(`healed after ${await heals('the file', remove, () => read('/etc/motd') === motd)}`);

  step('Somebody kills the service');
  const alloyReady = async () => (await fetch(`http://${alloyAddress}/-/ready`)).ok;
  const pid = (await agentPid()) ?? 0;
  const kill = () => process.kill(pid, 'SIGKILL');
  const answersAnew = async () => (await alloyReady()) && (await agentPid()) !== pid;
  const latency = await heals('the service', kill, answersAnew);
  ok(`Alloy answers again after ${latency} (pid ${pid} → ${await agentPid()})`);
  await until('all ready', () => ready('Service/alloy'));

  step('A commit changes the file');
  const demo = fs.readFileSync(path.join(repo, 'demo.yaml'), 'utf8');
  const better = demo.replace('Edit this in git.', 'It was edited in git.');
  commit('A better greeting', 'demo.yaml', better);
  ok(`on the host after ${ms(await until('the commit', () => read('/etc/motd').includes('was edited')))}`);

  step('A bad commit: a misspelt field, and a variable that does not exist');
  const bad = better.replace('path: /etc/motd', 'pth: /etc/motd').replace('host.name', 'host.nam');
  commit('Oops', 'demo.yaml', bad);
  const refused = await diagnostics();
  for (const line of refused) say(`    ${styleText('yellow', line)}`);
  if (!read('/etc/motd').includes('was edited'))
    throw new Error('the last good revision did not keep serving');
  ok('refused with file, line and column; the last good one keeps serving');
  ok(`and keeps healing: ${await heals('the file', remove, () => read('/etc/motd').includes('was edited'))}`);

  step('A commit that is valid, with a config that Alloy refuses');
  fs.writeFileSync(path.join(repo, 'demo.yaml'), better);
  const goodConfig = fs.readFileSync(path.join(repo, 'config.alloy'), 'utf8');
  commit('A typo in the pipeline', 'config.alloy', goodConfig.replace('url ', 'uri '));
  await until('the refusal', () => ready('AlloyConfig/alloy', 'Invalid'));
  const why = findCondition(
    (await agentStatus()).resources.find((r) => r.key === 'AlloyConfig/alloy')?.conditions ?? [],
    'Ready',
  );
  say(`    ${styleText('yellow', why?.message.split('\n')[0] ?? '')}`);
  if (read(config) !== wanted || !(await alloyReady()))
    throw new Error('Alloy does not run the last good config');
  ok('nothing was written; Alloy runs on with the last good config');

  step('The mistake is mended');
  commit('Mended', 'config.alloy', goodConfig);
  await until('recovery', async () =>
    (await agentStatus()).resources.every((r) => findCondition(r.conditions, 'Ready')?.status === 'True'),
  );
  ok('all is ready again');
}

/** Process id of the supervised Alloy. */
async function agentPid(): Promise<number | undefined> {
  const children = execFileSync('pgrep', ['-f', `storage.path=${sandbox}/var`], { encoding: 'utf8' })
    .trim()
    .split('\n');
  return children[0] === undefined ? undefined : Number(children[0]);
}

async function diagnostics(): Promise<string[]> {
  let found: string[] = [];
  await until('the refusal', () => {
    found = daemons[0]!
      .log()
      .split('\n')
      .filter((line) => line.includes('demo.yaml:'))
      .flatMap((line) => {
        const entry = JSON.parse(line) as { first?: string[] };
        return entry.first ?? [];
      });
    return found.length > 0;
  });
  return found;
}

async function stop(): Promise<void> {
  for (const d of daemons.reverse()) await d.stop();
  if (options.keep) say(`kept: ${place}`);
  else fs.rmSync(place, { recursive: true, force: true });
}

try {
  step('Starting a controller on a scratch git repository, and an agent in a sandbox');
  const began = performance.now();
  const { address, alloyAddress } = await start();
  await until('all ready', async () => {
    const { resources } = await agentStatus();
    return (
      resources.length > 0 && resources.every((r) => findCondition(r.conditions, 'Ready')?.status === 'True')
    );
  });
  ok(
    `a config, a service and a file are there, ${((performance.now() - began) / 1000).toFixed(1)} s after the start`,
  );
  say(`  page: ${styleText('underline', `${address}/`)}`);
  if (options.tour) {
    await tour(alloyAddress);
    say(styleText('green', '\nall healed'));
  } else {
    step('Drift is healed');
    const motd = read('/etc/motd');
    const tamper = () => fs.writeFileSync(onHost('/etc/motd'), 'tampered\n');
    ok(
      `a tampered file came back after ${await heals('the file', tamper, () => read('/etc/motd') === motd)}`,
    );
    say(`
Try it yourself:
  echo x >> ${onHost('/etc/motd')}        break something; it comes back
  $EDITOR ${path.join(repo, 'demo.yaml')}     change a manifest, and commit it there
  npm run homeostat -- status --socket ${socket}
Ctrl-C ends the demo and removes it.`);
    await new Promise<void>((resolve) => {
      process.once('SIGINT', resolve);
      process.once('SIGTERM', resolve);
    });
  }
} catch (error) {
  console.error(styleText('red', `\ndemo failed: ${(error as Error).message}`));
  for (const name of ['controller.log', 'agent.log']) {
    const file = path.join(place, name);
    if (fs.existsSync(file))
      console.error(`--- ${name}\n${fs.readFileSync(file, 'utf8').split('\n').slice(-15).join('\n')}`);
  }
  process.exitCode = 1;
} finally {
  await stop();
}
