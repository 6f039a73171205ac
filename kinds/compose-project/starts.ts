// What the processes of our services were started with. Of a service of theirs only our mounts are ours to follow.
import { goneSource, type Now, newerThan, type Sources, type Start, startOf } from '../container-start.ts';
import type { Io } from './compose.ts';
import type { Container } from './containers.ts';
import { LABEL, type Override } from './render.ts';
import type { D } from './schema.ts';

/** All by ID of the container. */
export interface Starts {
  /** What is newer than a process, in words after "started before". */
  readonly stale: ReadonlyMap<string, string>;
  /** What a process has mounted, and is gone. */
  readonly gone: ReadonlyMap<string, string>;
  /** To be remembered. */
  readonly starts: Record<string, Start>;
}

export function startsOf(
  d: D,
  override: Pick<Override, 'services'>,
  containers: readonly Container[],
  io: Pick<Io, 'files' | 'mounts'>,
): Starts {
  const stale = new Map<string, string>();
  const gone = new Map<string, string>();
  const starts: Record<string, Start> = {};
  for (const container of containers) {
    const { id, service, engine } = container;
    if (override.services[service] === undefined) continue;
    const { restartOn = [] } = d.spec.services?.[service] ?? d.spec.extend?.[service] ?? {};
    const now: Now = { restartOn, inputs: d.inputs, sources: sourcesOf(d, container, io) };
    const start = d.memory?.starts?.[id];
    const newer = newerThan(engine, start, now);
    if (newer !== undefined) stale.set(id, newer);
    const missing = goneSource(start, now.sources);
    if (missing !== undefined) gone.set(id, missing);
    starts[id] = startOf(engine, start, now);
  }
  return { stale, gone, starts };
}

function sourcesOf(
  d: D,
  { service, engine, labels }: Container,
  { files, mounts }: Pick<Io, 'files' | 'mounts'>,
): Sources {
  if (files.bornAtMs === undefined) return {};
  const isOurs = labels[LABEL.part] === 'added';
  const targets = new Set((d.spec.extend?.[service]?.volumes ?? []).map((volume) => volume.split(':')[1]));
  const found = engine.Mounts.flatMap(({ Type, Source, Destination }) =>
    Type === 'bind' && Source !== undefined && (isOurs || targets.has(Destination))
      ? [mounts.nameOf(Source)]
      : [],
  );
  return Object.fromEntries(found.map((source) => [source, files.bornAtMs!(source)]));
}
