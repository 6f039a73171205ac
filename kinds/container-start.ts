// What a container's process was started with, and what of it is newer by now: documents that it reads, and what stands
// at its mounts' sources. Pure. Shared by the kinds that keep containers.
import * as z from 'zod';
import type { Container } from './docker-engine.ts';
import type { Input, Verdict } from './kind.ts';
import { no } from './shared/verdicts.ts';

/** What bind mounts show, by path: when it was made, unix milliseconds; undefined for what is gone, 0 for what can't be told. */
export type Sources = Readonly<Record<string, number | undefined>>;

/** What is remembered of the last start that we saw through. */
export const Start = z.object({
  startedAt: z.string(),
  /** By reference, the digest of each input that the process was started with. */
  inputs: z.record(z.string(), z.string()),
  /** By path, when what it has mounted was made. */
  sources: z.record(z.string(), z.number()).optional(),
});
export type Start = z.infer<typeof Start>;

/** What a start is compared with. */
export interface Now {
  readonly restartOn: readonly string[];
  readonly inputs: Readonly<Record<string, Input>>;
  readonly sources: Sources;
}

/** @param start what is remembered: of a run that goes on, it stays as it was. */
export function startOf(
  { State }: Container,
  start: Start | undefined,
  { inputs, sources, restartOn }: Now,
): Start {
  if (start?.startedAt === State.StartedAt)
    return { startedAt: start.startedAt, inputs: start.inputs, sources: start.sources };
  const read = restartOn.flatMap((ref) =>
    inputs[ref] === undefined ? [] : [[ref, inputs[ref].digest] as const],
  );
  return {
    startedAt: State.StartedAt,
    inputs: Object.fromEntries(read),
    sources: Object.fromEntries(
      Object.entries(sources).filter((s): s is [string, number] => s[1] !== undefined),
    ),
  };
}

/** The host changes these by itself, and few programs read them twice: no reason to start a container anew. */
const HOSTS_OWN =
  /^\/(?:etc\/(?:resolv\.conf|hosts|hostname|localtime|timezone|machine-id|passwd|group|mtab)|run|proc|sys|dev)(?:\/|$)/;

/** What is newer than the process, in words after "started before". Of a start that we did not make only the time is known. */
export function newerThan({ State }: Container, start: Start | undefined, now: Now): string | undefined {
  const known = start?.startedAt === State.StartedAt ? start : undefined;
  const startedMs = Date.parse(State.StartedAt);
  const changed = now.restartOn.find((ref) => {
    const input = now.inputs[ref];
    if (input === undefined) return false;
    const startedWith = known?.inputs[ref];
    return startedWith === undefined ? input.appliedAtMs > startedMs : startedWith !== input.digest;
  });
  if (changed !== undefined) return `${changed} changed`;
  // A container keeps what it was started with, whatever stands at its path by now.
  const replaced = Object.entries(now.sources).find(([source, bornAtMs]) => {
    if (!bornAtMs || HOSTS_OWN.test(source)) return false;
    const startedWith = known?.sources?.[source];
    if (startedWith === undefined) return bornAtMs > startedMs;
    // Of files an older release remembered no time.
    return startedWith !== 0 && startedWith !== bornAtMs;
  });
  return replaced && `${replaced[0]}, which it has mounted, was replaced`;
}

/**
 * A mount's source that was there when it was started, and is gone. What never was, on an engine in a machine of its own,
 * is that machine's.
 */
export function goneSource(start: Start | undefined, sources: Sources): string | undefined {
  return Object.keys(start?.sources ?? {}).find(
    (source) => source in sources && sources[source] === undefined,
  );
}

export function mountMissing(name: string, source: string): Verdict {
  return no('MountMissing', `${source}, which ${name} has mounted, is gone: it sees what was removed`);
}
