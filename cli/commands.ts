// Every command by its name, and what loads it. Only the one that is asked for is loaded, since the agent must not
// carry the controller's libraries in its memory.
import type { Command } from 'commander';
import { newProgram } from './program.ts';

type Registers = { register(program: Command): void };

const COMMANDS: readonly [names: readonly string[], load: () => Promise<Registers>][] = [
  [['agent'], () => import('./agent.ts')],
  [['controller'], () => import('./controller.ts')],
  [['init'], () => import('./init.ts')],
  [['validate'], () => import('./validate.ts')],
  [['render'], () => import('./render.ts')],
  [['plan'], () => import('./plan.ts')],
  [['once'], () => import('./once.ts')],
  [['allow'], () => import('./allow.ts')],
  [['status'], () => import('./status.ts')],
  [['reconcile', 'suspend', 'resume'], () => import('./control.ts')],
  [['keygen'], () => import('./keygen.ts')],
  [['token'], () => import('./token.ts')],
  [['forget'], () => import('./forget.ts')],
  [['secret'], () => import('./secret.ts')],
  [['enroll'], () => import('./enroll.ts')],
  [['get'], () => import('./get.ts')],
  [['describe'], () => import('./describe.ts')],
  [['import'], () => import('./import.ts')],
  [['convert'], () => import('./convert.ts')],
];

/** @param asked the command that is about to be run; all of them when it is none of these. */
export async function loadProgram(asked?: string): Promise<Command> {
  const program = newProgram();
  const chosen = COMMANDS.find(([names]) => asked !== undefined && names.includes(asked));
  for (const [, load] of chosen === undefined ? COMMANDS : [chosen]) (await load()).register(program);
  return program;
}
