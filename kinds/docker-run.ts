// A program of an image, run to its end in a container that is thrown away: no network, nothing kept, nothing of the
// host but the directories that are named, read-only. What an agent that was killed left of it is found by its label.
import { Stalled } from '../api/errors.ts';
import { ask, EngineError, inspect, isStatus, removeContainer, withLabel } from './docker-engine.ts';
import type { Judge } from './kind.ts';
import { refusalOfSeen } from './mounts-seen.ts';
import type { Ports, ProcessResult } from './ports.ts';

const RUN_LABEL = 'dev.homeostat.run';
const LOG_LINES = 500;

export interface Run {
  /** Whom it is for, as AlloyConfig/alloy: only one at a time is meant to be there for each. */
  readonly key: string;
  /** An image that is on the engine, by reference or ID. */
  readonly image: string;
  /** For the image's own entrypoint. */
  readonly args: readonly string[];
  readonly directories: readonly { readonly source: string; readonly target: string }[];
  readonly timeoutMs: number;
}

/**
 * @returns what it wrote, both streams in `stdout`.
 * @throws Error when it could not be started, or did not end in time; Stalled('NotAllowed') for what it sees.
 */
export async function runInImage(
  judge: Judge,
  io: Pick<Ports, 'docker' | 'mounts'>,
  run: Run,
  signal: AbortSignal,
): Promise<ProcessResult> {
  const { docker } = io;
  for (const { Id } of await withLabel(docker, `${RUN_LABEL}=${run.key}`, signal)) {
    await removeContainer(docker, Id, signal, { volumes: true });
  }
  const body = {
    Image: run.image,
    Cmd: run.args,
    // As in the container that it stands for: files of the directory may be for root only.
    User: '0:0',
    Labels: { [RUN_LABEL]: run.key },
    HostConfig: {
      NetworkMode: 'none',
      SecurityOpt: ['no-new-privileges'],
      Mounts: run.directories.map(({ source, target }) => ({
        Type: 'bind',
        Source: source,
        Target: target,
        ReadOnly: true,
        BindOptions: { NonRecursive: true },
      })),
    },
  };
  const created = await ask(docker, 'POST', '/containers/create', { body, signal });
  const { Id } = JSON.parse(created.body) as { Id: string };
  try {
    await ask(docker, 'POST', `/containers/${Id}/start`, { signal });
    const started = await inspect(docker, Id, signal);
    const refusal = started && (await refusalOfSeen(judge, started, io, signal));
    if (refusal !== undefined) throw new Stalled('NotAllowed', refusal);
    await ask(docker, 'POST', `/containers/${Id}/wait`, { timeoutMs: run.timeoutMs, signal });
    const ended = await inspect(docker, Id, signal);
    if (ended === undefined) throw new Error(`somebody removed the container in which ${run.image} was run`);
    return { exitCode: ended.State.ExitCode, stdout: await docker.logs(Id, LOG_LINES, signal), stderr: '' };
  } catch (error) {
    if (!(error instanceof EngineError) || isStatus(error, 404)) throw error;
    throw new Error(`${run.image} can’t be run: ${error.message}`, { cause: error });
  } finally {
    // Whatever happened, also when the pass was cut off.
    const signal = AbortSignal.timeout(run.timeoutMs);
    await removeContainer(docker, Id, signal, { volumes: true }).catch(() => undefined);
  }
}
