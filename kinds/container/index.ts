// Container: one container of a Docker engine, made as the spec says, running, and made anew when it differs. It
// carries our label; one that does not is never touched. replace.ts has the order in which one takes the place of
// another, undo.ts the way back.
import { imageID, inspect, requireImage } from '../docker-engine.ts';
import { type Concern, defineKind } from '../kind.ts';
import { watchAll } from '../watch-all.ts';
import { asksOf, checkContainer } from './check.ts';
import { networkOf, OWNER_LABEL } from './create.ts';
import { changesOf, type Found, find, inService, requireName } from './found.ts';
import { healthText, healthy } from './gate.ts';
import { bringAbout, removeOthers } from './replace.ts';
import { ContainerSpec } from './schema.ts';
import { snapshotOf, undo } from './undo.ts';

export const container = defineKind<ContainerSpec, Found, 'docker' | 'files' | 'clock'>({
  kind: 'Container',
  scope: 'host',
  spec: ContainerSpec,
  needs: ['docker', 'files', 'clock'],
  patience: { burst: 50, perSecond: 0.2 },

  owns: (spec) => [`container:${spec.name}`],
  asks: asksOf,
  inputs: (spec) => spec.restartOn ?? [],
  check: checkContainer,

  observe: (d, { docker }, signal) => find(d.key, d.spec.name, docker, signal),
  diff: changesOf,

  async prepare(d, found, { docker }, signal) {
    requireName(d, found);
    await requireImage(docker, d.spec.image, d.spec.pull ?? 'missing', signal);
    return snapshotOf(found.holder ?? inService(d.key, found));
  },

  async apply(changes, d, io, signal) {
    return { memory: await bringAbout(changes, d, io, signal) };
  },

  async confirm(d, snapshot, io, signal) {
    // What was put back was confirmed before, and was just seen running.
    if (snapshot === undefined) return { verdict: 'Yes' };
    const current = await inspect(io.docker, d.spec.name, signal);
    if (current === undefined) {
      return { verdict: 'No', reason: 'Gone', evidence: `somebody removed the container ${d.spec.name}` };
    }
    const verdict = await healthy(d, current.Id, io, signal);
    if (verdict.verdict === 'Yes') await removeOthers(d.key, current.Id, io.docker, signal);
    return verdict;
  },

  undo: (snapshot, record, { docker }, signal) => undo(snapshot, record, docker, signal),

  watch(d, { docker, clock }, wake, signal) {
    const { name } = d.spec;
    const network = networkOf(d.spec);
    return watchAll(
      clock,
      wake,
      signal,
      (w, s) =>
        docker.watch({ type: ['container'], label: [`${OWNER_LABEL}=${d.key}`], event: EVENTS }, w, s),
      [
        (w, s) => docker.watch({ type: ['container'], container: [name], event: EVENTS }, w, s),
        ...(network === ''
          ? []
          : [
              (w: () => void, s: AbortSignal) =>
                docker.watch({ type: ['network'], network: [network] }, w, s),
            ]),
      ],
    );
  },

  /** Another image under the same name is worth another try. */
  async version(d, { docker }, signal) {
    const { engine } = await docker.version(signal);
    return `${engine} ${(await imageID(docker, d.spec.image, signal)) ?? ''}`;
  },

  conditions(d, found): Concern[] {
    const current = inService(d.key, found);
    const type = 'ContainerHealthy';
    switch (current?.State.Health?.Status) {
      case 'healthy':
        return [{ type, status: 'True', reason: 'Healthy', message: 'its healthcheck says so' }];
      case 'starting':
        return [
          { type, status: 'Unknown', reason: 'Starting', message: 'its healthcheck has not answered yet' },
        ];
      case 'unhealthy':
        return [{ type, status: 'False', reason: 'Unhealthy', message: healthText(current!) }];
      default:
        return [];
    }
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
