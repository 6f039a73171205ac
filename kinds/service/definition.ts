// What a supervised unit runs: its definition, and how one differs from another. Values of its environment may be
// secrets, so that differences name variables and show no values.
import { canonical, type Json } from '../../api/json.ts';
import type { Change, Desired } from '../kind.ts';
import type { SupervisedUnits } from '../ports.ts';
import type { ServiceSpec } from './schema.ts';

type Definition = Parameters<SupervisedUnits['define']>[1];

/** @throws Stalled('SecretMissing') */
export function definitionOf(d: Desired<ServiceSpec>): Definition {
  const { command, env, enabled } = d.spec;
  return {
    command: command ?? [],
    env: Object.fromEntries(
      Object.entries(env ?? {}).map(([name, value]) => [name, d.content(value).bytes.toString()]),
    ),
    enabled: enabled ?? true,
  };
}

/** @param text what `SupervisedUnits.definition` gave. */
export function definitionChanges(d: Desired<ServiceSpec>, text: string | undefined): Change[] {
  const wanted = definitionOf(d);
  const to = wanted.command.join(' ');
  if (text === undefined) return [{ what: 'command', from: '', to }];
  const now = JSON.parse(text) as Definition;
  if (canonical(now as unknown as Json) === canonical(wanted as unknown as Json)) return [];
  const changes: Change[] = [];
  const from = now.command.join(' ');
  if (from !== to) changes.push({ what: 'command', from, to });
  const names = new Set([...Object.keys(now.env), ...Object.keys(wanted.env)]);
  const differing = [...names].filter((name) => now.env[name] !== wanted.env[name]);
  if (differing.length > 0) {
    changes.push({ what: `environment (${differing.join(', ')})`, from: 'other values', to: 'as wanted' });
  }
  if (now.enabled !== wanted.enabled) {
    changes.push({ what: 'kept running', from: String(now.enabled), to: String(wanted.enabled) });
  }
  return changes;
}
