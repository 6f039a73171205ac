// What a supervised unit runs: its definition, and how one differs from another. Values of its environment may be
// secrets, so that differences name variables and show no values.
import * as z from 'zod';
import { canonical } from '../../api/json.ts';
import type { Change, Desired } from '../kind.ts';
import type { SupervisedUnits } from '../ports.ts';
import type { ServiceSpec } from './schema.ts';

const Definition = z.object({
  command: z.array(z.string()),
  env: z.record(z.string(), z.string()),
  enabled: z.boolean(),
});
type Definition = z.infer<typeof Definition>;

/** @param text what `SupervisedUnits.definition` gave. */
export function readDefinition(text: string): Definition {
  return Definition.parse(JSON.parse(text));
}

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
  const now = readDefinition(text);
  if (canonical(now) === canonical(wanted)) return [];
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

/** @returns whether it was another one. */
export function define(d: Desired<ServiceSpec>, supervised: SupervisedUnits): boolean {
  const { unit } = d.spec;
  if (definitionChanges(d, supervised.definition(unit)).length === 0) return false;
  supervised.define(unit, definitionOf(d));
  return true;
}
