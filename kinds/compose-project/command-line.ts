// What the owner's command line said when the project's containers were made, and its files don't say: another name of
// the project, other files, another .env. What was made so would be made otherwise by a `docker compose` of ours.
import path from 'node:path';
import { Waiting } from '../../api/errors.ts';
import { ask } from '../docker-engine.ts';
import { hashesOf, type Io, type Project } from './compose.ts';
import { AGAIN_MS } from './fit.ts';
import { LISTED, OVERRIDE, type Placement } from './placement.ts';
import { LABEL } from './render.ts';
import type { D } from './schema.ts';
import { inProject } from './surroundings.ts';

/** Labels that compose gives (compose v2, pkg/api/labels.go). */
const COMPOSE = 'com.docker.compose.';

interface Listed {
  readonly State: string;
  readonly Labels?: Readonly<Record<string, string>>;
}

/**
 * @param project compose's name for it, by the files and the document.
 * @throws Waiting('OtherCommandLine') with what would be right.
 */
export async function requireTheirCommandLine(
  { key, spec }: D,
  at: Project,
  project: string,
  { base }: Placement,
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  const directory = path.dirname(inProject(at, base[0]!));
  // By the name that compose was told, or where its links lead.
  const names = (file: string) => [io.files.hostPath?.(file) ?? file, io.mounts.resolve(file).hostPath];
  const here = new Set(names(directory));
  const label = [`${COMPOSE}project.working_dir`, `${COMPOSE}oneoff=False`];
  const { body } = await ask(io.docker, 'GET', '/containers/json', {
    query: { all: true, filters: { label } },
    signal,
  });
  const containers = (JSON.parse(body) as Listed[]).filter(({ Labels = {} }) =>
    here.has(Labels[`${COMPOSE}project.working_dir`] ?? ''),
  );
  const nameOf = (of: Listed) => of.Labels?.[`${COMPOSE}project`] ?? '';
  const ours = containers.filter((container) => nameOf(container) === project);
  const other = containers.find(
    ({ State, Labels }) => State === 'running' && Labels?.[LABEL.document] !== key,
  );
  if (ours.length === 0 && other !== undefined) {
    const name = nameOf(other);
    throw wait(
      at,
      `its containers run as the project ${name}, and here it is ${project}: write project: ${name} into the document, or name: ${name} into the compose file`,
    );
  }
  const files = new Set([...base, OVERRIDE, LISTED].flatMap((file) => names(inProject(at, file))));
  // Running or not: one that was only just created is somebody's `docker compose up` that is under way.
  for (const { Labels = {} } of ours) {
    const service = Labels[`${COMPOSE}service`] ?? '';
    if (spec.extend?.[service] === undefined) continue;
    const read = (Labels[`${COMPOSE}project.config_files`] ?? '').split(',');
    // Made with ours beside them: by their .env, which may name other files by now, or by us.
    const withOurs = [OVERRIDE, LISTED].find((name) =>
      names(inProject(at, name)).some((file) => read.includes(file)),
    );
    const isOther = (file: string) => file !== '' && !files.has(file) && isFile(file, io);
    const more = withOurs === undefined ? read.filter(isOther) : [];
    const env = (Labels[`${COMPOSE}project.environment_file`] ?? '').split(',').filter(Boolean);
    const usual = [...names(path.join(directory, '.env')), ...names(inProject(at, '.env'))];
    const others = env.filter((file) => !usual.includes(file));
    if (more.length + others.length === 0) continue;
    const hashes = await hashesOf(at, withOurs === undefined ? base : [...base, withOurs], io, signal);
    // Their files say the same by now.
    if (hashes[service] === Labels[`${COMPOSE}config-hash`]) continue;
    const [flag, named, remedy] =
      more.length > 0
        ? ['--file', more, 'name it in COMPOSE_FILE in .env']
        : ['--env-file', others, 'move what it says into .env'];
    throw wait(
      at,
      `${service} was started with ${flag} ${named.join(' and ')}, which docker compose does not read of itself: ${remedy}, or run docker compose up -d --force-recreate ${service} without it`,
    );
  }
}

/** `-` is standard input. */
const isFile = (hostPath: string, io: Io): boolean =>
  hostPath.startsWith('/') ? io.files.read(io.mounts.nameOf(hostPath)).type === 'file' : true;

const wait = ({ directory }: Project, words: string): Waiting =>
  new Waiting('OtherCommandLine', `${directory}: ${words}`, AGAIN_MS);
