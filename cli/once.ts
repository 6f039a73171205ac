// homeostat once: one full pass from a directory of manifests, without a controller; for a first try, cron, CI and
// image builds.
import { styleText } from 'node:util';
import type { Command } from 'commander';
import { answers } from '../agent/server.ts';
import { resourceReason, resourceState } from '../api/health.ts';
import { findCondition } from '../api/status.ts';
import { type LocalOptions, localOptions, openLocal } from './local.ts';

export function register(program: Command): void {
  localOptions(program.command('once'))
    .description(
      'bring this host to what the manifests say, once (exit 0: all ready, 2: not all, 1: an error)',
    )
    .option('--timeout <seconds>', 'how long to wait for gates and dependencies', Number, 60)
    .action(async (options: LocalOptions & { timeout: number }) => {
      const local = await openLocal(options);
      if (local === undefined) {
        process.exitCode = 1;
        return;
      }
      const { agent, ports, assignment, config } = local;
      if (config.root === undefined && (await answers(config.socket))) {
        throw new Error(
          `an agent is running here (it answers on ${config.socket}); two would undo each other's work`,
        );
      }
      try {
        agent.load();
        const status = await agent.runOnce(assignment, options.timeout * 1000);
        let ready = 0;
        for (const r of status.resources) {
          const isReady = resourceState(r.conditions) === 'Ready';
          if (isReady) ready += 1;
          const mark = isReady ? styleText('green', '✓') : styleText('red', '✗');
          const message = findCondition(r.conditions, 'Ready')?.message ?? 'no pass yet';
          console.log(`${mark} ${r.key} ${resourceReason(r.conditions)}${isReady ? '' : `: ${message}`}`);
        }
        if (status.mode === 'observe') {
          console.log(
            `the host is in mode observe: nothing was touched; Host/${status.host} says spec.mode: enforce when it may`,
          );
        }
        console.log(`${ready} of ${status.resources.length} ready`);
        process.exitCode = ready === status.resources.length ? 0 : 2;
      } finally {
        await agent.stop();
        await ports.close();
      }
    });
}
