// homeostat status: what the agent on this host says of itself.
import { styleText } from 'node:util';
import type { Command } from 'commander';
import { AgentStatus, findCondition } from '../api/status.ts';
import { askAgent, CONFIG_OPTION, SOCKET_OPTION, type SocketOptions } from './socket.ts';

export function register(program: Command): void {
  program
    .command('status')
    .description('show what the agent on this host keeps, and how it stands (exit 0: all ready, 2: not all)')
    .option('-o, --output <format>', 'json, or a table')
    .option(...SOCKET_OPTION)
    .option(...CONFIG_OPTION)
    .action(async (options: SocketOptions & { output?: string }) => {
      const answer = (await askAgent(options, 'GET', '/v1/status')) as {
        status: unknown;
        suspended: string[];
      };
      const status = AgentStatus.parse(answer.status);
      console.log(options.output === 'json' ? JSON.stringify(answer, null, 2) : describe(status));
      const ready = status.resources.every((r) => findCondition(r.conditions, 'Ready')?.status === 'True');
      process.exitCode = ready ? 0 : 2;
    });
}

function describe(status: AgentStatus): string {
  const { desired, running } = status.sequence;
  const commit = status.commit.desired.slice(0, 12) || 'no manifest yet';
  const revision =
    desired === running
      ? `${commit}, running`
      : `${commit}, asked for; running: ${status.commit.running.slice(0, 12) || 'none'}`;
  const lines = [`${status.host}  mode ${status.mode}  ${revision}`];
  for (const c of status.conditions) {
    if (c.status !== 'True') lines.push(styleText('yellow', `${c.type}: ${c.reason}: ${c.message}`));
  }
  const width = Math.max(8, ...status.resources.map((r) => r.key.length));
  for (const r of status.resources) {
    const ready = findCondition(r.conditions, 'Ready');
    const [mark, color] =
      ready?.status === 'True'
        ? (['✓', 'green'] as const)
        : ready?.status === 'False'
          ? (['✗', 'red'] as const)
          : (['…', 'yellow'] as const);
    const healed = r.healedTotal > 0 ? `  healed ${r.healedTotal}×` : '';
    const detail = ready?.status === 'True' ? '' : `  ${ready?.message ?? 'not looked at yet'}`;
    lines.push(
      `${styleText(color, mark)} ${r.key.padEnd(width)}  ${(ready?.reason ?? 'Pending').padEnd(10)}${healed}${detail}`,
    );
    for (const c of r.conditions) {
      if (['Ready', 'Applied', 'Suspended', 'Contended'].includes(c.type) || c.status === 'False') continue;
      lines.push(styleText('yellow', `  ${c.type}: ${c.message}`));
    }
  }
  if (status.resources.length === 0) lines.push('nothing is assigned to this host yet');
  return lines.join('\n');
}
