// Container: one container of a Docker engine, made as the spec says, running, and made anew when it differs. It
// carries our label; one that does not is never touched. replace.ts has the order in which one takes the place of
// another, undo.ts how it is undone.
import { goneSource, mountMissing } from '../container-start.ts';
import { imageID } from '../docker-engine.ts';
import { SETTLE_MS, verdictOf } from '../docker-verdict.ts';
import { defineKind } from '../kind.ts';
import { no } from '../shared/verdicts.ts';
import { watchAll } from '../watch-all.ts';
import { checkContainer, permissionsOf } from './check.ts';
import { OWNER_LABEL } from './create.ts';
import { changesOf, current, inService, type Observed, observe, requireName } from './found.ts';
import { pullImage } from './image.ts';
import { networksWanted, peerOf } from './networks.ts';
import { bringAbout, contain } from './replace.ts';
import { ContainerSpec, Memory } from './schema.ts';
import { resolve } from './sources.ts';
import { Before, beforeOf, undo } from './undo.ts';

/** Without a healthcheck of the spec's; one of the image's is waited for as well. */
const WITHIN_MS = 30_000;

export const container = defineKind<
  ContainerSpec,
  Observed,
  'docker' | 'files' | 'mounts' | 'clock',
  Before,
  Memory
>({
  kind: 'Container',
  scope: 'host',
  spec: ContainerSpec,
  before: { version: 1, schema: Before },
  memory: { version: 1, schema: Memory },
  needs: ['docker', 'files', 'mounts', 'clock'],
  healLimit: { burst: 50, perSecond: 0.2 },

  owns: (spec) => [`container:${spec.name}`],
  permissions: permissionsOf,
  resolve,
  contain,
  inputs: (spec) => spec.restartOn ?? [],
  check: checkContainer,

  observe,
  diff: changesOf,

  assess(d, found, trial) {
    const { name, network } = d.spec;
    const one = current(d, found);
    if (one === undefined) return no('Gone', `there is no container ${name}`);
    const seen = { name, container: one, nowMs: found.nowMs, log: found.log };
    const old = trial?.before.before;
    // Of the very container that was there before, only what happened since is the change's.
    const restarts = old?.id === one.Id ? (old.restarts ?? one.RestartCount) : 0;
    const verdict = verdictOf(seen, trial === undefined ? undefined : { restarts });
    const gone = goneSource(d.memory, found.sources);
    if (verdict.verdict === 'Yes' && gone !== undefined) return mountMissing(name, gone);
    if (verdict.verdict !== 'Yes' || peerOf(d.spec) === undefined || found.peer?.State.Running === true) {
      return verdict;
    }
    return no('NetworkGone', `${name} is in the network of ${network}, and that does not run`);
  },

  gate({ healthcheck: check }) {
    const { startPeriodSeconds = 0, intervalSeconds = 30, timeoutSeconds = 30, retries = 3 } = check ?? {};
    const health = startPeriodSeconds + retries * (intervalSeconds + timeoutSeconds);
    return { withinMs: WITHIN_MS + (check === undefined ? 0 : health * 1000), settleMs: SETTLE_MS };
  },

  async prepare(d, found, { docker }, signal) {
    requireName(d, found);
    await pullImage(d, d.spec.pull ?? 'missing', docker, signal);
    const old = found.holder ?? inService(d.key, found);
    return { existed: old !== undefined, before: beforeOf(old) };
  },

  apply: bringAbout,
  undo,

  watch(d, { docker, clock }, wake, signal) {
    const { name } = d.spec;
    const networks = [...networksWanted(d.spec).keys()];
    const peer = peerOf(d.spec);
    const names = peer === undefined ? [name] : [name, peer];
    return watchAll(
      clock,
      wake,
      signal,
      (w, s) =>
        docker.watch({ type: ['container'], label: [`${OWNER_LABEL}=${d.key}`], event: EVENTS }, w, s),
      [
        (w, s) => docker.watch({ type: ['container'], container: names, event: EVENTS }, w, s),
        ...(networks.length === 0
          ? []
          : [
              (w: () => void, s: AbortSignal) => docker.watch({ type: ['network'], network: networks }, w, s),
            ]),
      ],
    );
  },

  /** Another image under the same name is worth another try. */
  async version(d, { docker }, signal) {
    const { engine } = await docker.version(signal);
    return `${engine} ${(await imageID(docker, d.spec.image, signal)) ?? ''}`;
  },
});

/** What may make a difference; healthchecks and `docker exec` have events of their own all the time. */
const EVENTS = [
  'create',
  'destroy',
  'die',
  'health_status',
  'pause',
  'rename',
  'start',
  'stop',
  'unpause',
  'update',
];
