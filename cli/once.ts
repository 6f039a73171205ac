// homeostat once: one full pass from a directory of manifests, without a controller; for a first try, cron, CI and
// image builds.
import { styleText } from 'node:util';
import type { Command } from 'commander';
import { answers } from '../agent/server.ts';
import { concernsOf, resourceReason, resourceState } from '../api/health.ts';
import { type AgentStatus, findCondition } from '../api/status.ts';
import { type LocalOptions, localOptions, openLocal } from './local.ts';
import { seconds } from './options.ts';
import { onStopSignal } from './stop-signals.ts';

type Local = NonNullable<Awaited<ReturnType<typeof openLocal>>>;

/** How long a pass that does not heed its end is waited for, after the timeout. */
const DRAIN_MS = 10_000;

export function register(program: Command): void {
  localOptions(program.command('once'))
    .description('bring this host to what the manifests say, once')
    .option(
      '--timeout <seconds>',
      'how long it may take, gates and dependencies included',
      seconds(0.1, 86_400),
      60,
    )
    .action(async (options: LocalOptions & { timeout: number }) => {
      const local = await openLocal(options);
      if (local === undefined) {
        process.exitCode = 1;
        return;
      }
      const { config } = local;
      if (config.root === undefined && (await answers(config.socket))) {
        throw new Error(
          `an agent is running here (it answers on ${config.socket}); two would undo each other's work`,
        );
      }
      await runLocal(local, options.timeout * 1000);
    });
}

async function runLocal({ agent, ports, assignment }: Local, timeoutMs: number): Promise<void> {
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    ports.leaveUnits();
    stopped ??= agent.stop();
    return stopped;
  };
  onStopSignal(
    (signal) => {
      console.error(`${signal}: nothing new is begun, and what runs is seen to its end`);
      void stop();
    },
    (signal) => console.error(`${signal}: it stops already, and waits for what runs to end`),
  );
  try {
    agent.load();
    const status = await agent.runOnce(assignment, timeoutMs);
    process.exitCode = report(status) ? 0 : 2;
    // Told to stop, it waits as long as it takes; told to be quick, it does not.
    if (stopped === undefined) leaveAfterDrain();
  } finally {
    await stop();
    await ports.close();
  }
}

/** A pass that hangs must not hold the command for ever. */
function leaveAfterDrain(): void {
  setTimeout(() => {
    console.error(`a pass did not end within ${DRAIN_MS / 1000} s, and is left as it is`);
    process.exit();
  }, DRAIN_MS).unref();
}

/** @returns whether everything is ready. */
function report(status: AgentStatus): boolean {
  let ready = 0;
  // Written at once, since each write of a thousand lines takes as long as a pass.
  const lines: string[] = [];
  for (const r of status.resources) {
    const isReady = resourceState(r.conditions, status.at) === 'Ready';
    if (isReady) ready += 1;
    const mark = isReady ? styleText('green', '✓') : styleText('red', '✗');
    const message = findCondition(r.conditions, 'Ready')?.message ?? 'no pass yet';
    lines.push(`${mark} ${r.key} ${resourceReason(r.conditions)}${isReady ? '' : `: ${message}`}`);
    for (const c of concernsOf(r.conditions)) lines.push(styleText('yellow', `  ${c.type}: ${c.message}`));
  }
  if (status.mode === 'observe') {
    lines.push(
      `the host is in mode observe: nothing was touched; Host/${status.host} says spec.mode: enforce when it may`,
    );
  }
  lines.push(`${ready} of ${status.resources.length} ready`);
  console.log(lines.join('\n'));
  return ready === status.resources.length;
}
