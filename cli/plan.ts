// homeostat plan: what would change on this machine, as a diff; nothing is written.
import { styleText } from 'node:util';
import type { Command } from 'commander';
import { createTwoFilesPatch } from 'diff';
import * as z from 'zod';
import { type Change, describeChange } from '../kinds/kind.ts';
import { type LocalOptions, localOptions, openLocal } from './local.ts';
import { askAgentFor, SOCKET_OPTION } from './socket.ts';

const Text = z.object({ before: z.string(), after: z.string(), secret: z.boolean() });
const Plans = z.array(
  z.object({
    key: z.string(),
    changes: z.array(
      z.object({ what: z.string(), from: z.string(), to: z.string(), text: Text.exactOptional() }),
    ),
    error: z.string().exactOptional(),
  }),
);

interface Plan {
  readonly key: string;
  readonly changes: readonly Change[];
  readonly error?: string;
}

export function register(program: Command): void {
  localOptions(program.command('plan'))
    .description('show what would change on this host, and change nothing')
    .option('--running', 'ask the running agent for what it would do with its own manifest')
    .addOption(SOCKET_OPTION)
    .action(async (options: LocalOptions & { running?: boolean; socket?: string }) => {
      const plans =
        options.running === true ? await askAgentFor(Plans, options, '/v1/plan') : await planLocally(options);
      if (plans === undefined) {
        process.exitCode = 1;
        return;
      }
      print(plans);
      process.exitCode = plans.some((p) => p.error !== undefined)
        ? 1
        : plans.some((p) => p.changes.length > 0)
          ? 2
          : 0;
    });
}

async function planLocally(options: LocalOptions): Promise<Plan[] | undefined> {
  const local = await openLocal(options, { readOnly: true });
  if (local === undefined) return undefined;
  const { agent, ports, assignment } = local;
  try {
    agent.preview(assignment);
    return await agent.plan();
  } finally {
    await agent.stop();
    await ports.close();
  }
}

function print(plans: readonly Plan[]): void {
  for (const { key, changes, error } of plans) {
    if (error !== undefined) console.log(`${styleText('red', '!')} ${key}: ${error}`);
    else if (changes.length > 0) console.log(`${styleText('yellow', '~')} ${key}`);
    for (const change of changes) {
      console.log(`    ${describeChange(change)}`);
      if (change.text !== undefined) console.log(indent(unified(change.text)));
    }
  }
  const changed = plans.filter((p) => p.changes.length > 0).length;
  const failed = plans.filter((p) => p.error !== undefined).length;
  const same = plans.length - changed - failed;
  console.log(
    `${changed} to change, ${same} in sync${failed > 0 ? `, ${failed} could not be looked at` : ''}`,
  );
}

/** Of a secret only the places are shown where something differs. */
function unified({ before, after, secret }: NonNullable<Change['text']>): string {
  const patch = createTwoFilesPatch('on this host', 'in the manifest', before, after, undefined, undefined, {
    context: 3,
  });
  const lines = patch.split('\n').filter((line) => !/^(=+|\\ No newline.*|)$/.test(line));
  return lines
    .filter((line) => !secret || /^(---|\+\+\+|@@)/.test(line))
    .map((line) => {
      if (line.startsWith('@@')) return styleText('cyan', line);
      if (line.startsWith('+')) return styleText('green', line);
      return line.startsWith('-') ? styleText('red', line) : line;
    })
    .concat(secret ? ['[secret]'] : [])
    .join('\n');
}

function indent(text: string): string {
  return text.replace(/^/gm, '    ');
}
