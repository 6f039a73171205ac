#!/usr/bin/env node
// `homeostat`: one program, one file a subcommand. Only the one that is asked for is loaded, since the agent must
// not carry the controller's libraries in its memory.
import { Command } from 'commander';
import { VERSION } from './version.ts';

type Registers = { register(program: Command): void };

const COMMANDS: readonly [names: readonly string[], load: () => Promise<Registers>][] = [
  [['agent'], () => import('./agent.ts')],
  [['controller'], () => import('./controller.ts')],
  [['init'], () => import('./init.ts')],
  [['validate'], () => import('./validate.ts')],
  [['render'], () => import('./render.ts')],
  [['plan'], () => import('./plan.ts')],
  [['once'], () => import('./once.ts')],
  [['status'], () => import('./status.ts')],
  [['reconcile', 'suspend', 'resume'], () => import('./control.ts')],
  [['keygen'], () => import('./keygen.ts')],
  [['token'], () => import('./token.ts')],
  [['secret'], () => import('./secret.ts')],
  [['enroll'], () => import('./enroll.ts')],
  [['get'], () => import('./get.ts')],
  [['describe'], () => import('./describe.ts')],
  [['import'], () => import('./import.ts')],
  [['convert'], () => import('./convert.ts')],
];

async function main(): Promise<void> {
  const program = new Command('homeostat')
    .description('keeps hosts as the manifests in git say')
    .version(VERSION)
    .showHelpAfterError('(homeostat --help lists the commands)')
    .enablePositionalOptions();
  const asked = process.argv[2] ?? '';
  const chosen = COMMANDS.find(([names]) => names.includes(asked));
  for (const [, load] of chosen === undefined ? COMMANDS : [chosen]) (await load()).register(program);
  await program.parseAsync();
}

main().catch((error: unknown) => {
  console.error(`homeostat: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
