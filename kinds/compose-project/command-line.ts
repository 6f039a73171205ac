// What the owner's command line said when the project's containers were made, and its files don't say: another name of
// the project, other files, another .env. What was made so would be made otherwise by a `docker compose` of ours.
import path from 'node:path';
import { Waiting } from '../../api/errors.ts';
import { ask } from '../docker-engine.ts';
import { hashesOf, type Io, type Project } from './compose.ts';
import { AGAIN_MS } from './fit.ts';
import { LISTED, OVERRIDE, type Placement } from './placement.ts';
import { inProject } from './surroundings.ts';

/** Labels that compose gives (compose v2, pkg/api/labels.go). */
const COMPOSE = 'com.docker.compose.';

interface Listed {
  readonly State: string;
  readonly Labels?: Readonly<Record<string, string>>;
}

/**
 * @param project compose's name for it, by the files and the document.
 * @param extended services of theirs that are ours to bring up.
 * @throws Waiting('OtherCommandLine') with what would be right.
 */
export async function requireTheirCommandLine(
  at: Project,
  project: string,
  { base, own }: Placement,
  extended: ReadonlySet<string>,
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  const directory = path.dirname(inProject(at, base[0]!));
  const onHost = (file: string) => io.files.hostPath?.(file) ?? file;
  const label = [`${COMPOSE}project.working_dir=${onHost(directory)}`, `${COMPOSE}oneoff=False`];
  const { body } = await ask(io.docker, 'GET', '/containers/json', {
    query: { all: true, filters: { label } },
    signal,
  });
  const containers = JSON.parse(body) as Listed[];
  const nameOf = (of: Listed) => of.Labels?.[`${COMPOSE}project`] ?? '';
  const ours = containers.filter((container) => nameOf(container) === project);
  const other = containers.find(({ State }) => State === 'running');
  if (ours.length === 0 && other !== undefined) {
    const name = nameOf(other);
    throw wait(
      at,
      `its containers run as the project ${name}, and here it is ${project}: write project: ${name} into the document, or name: ${name} into the compose file`,
    );
  }
  const files = new Set([...base, OVERRIDE, LISTED].map((file) => onHost(inProject(at, file))));
  // Running or not: one that was only just created is somebody's `docker compose up` that is under way.
  for (const { Labels = {} } of ours) {
    const service = Labels[`${COMPOSE}service`] ?? '';
    if (!extended.has(service)) continue;
    const read = (Labels[`${COMPOSE}project.config_files`] ?? '').split(',');
    // Made with ours beside them: by their .env, which may name other files by now, or by us.
    const withOurs = read.includes(onHost(inProject(at, own)));
    const more = withOurs ? [] : read.filter((file) => file !== '' && !files.has(file) && isFile(file, io));
    const env = (Labels[`${COMPOSE}project.environment_file`] ?? '').split(',').filter(Boolean);
    const others = env.filter((file) => file !== onHost(path.join(directory, '.env')));
    if (more.length + others.length === 0) continue;
    const { hashes } = await hashesOf(at, withOurs ? [...base, own] : base, io, signal);
    // Their files say the same by now.
    if (hashes[service] === Labels[`${COMPOSE}config-hash`]) continue;
    const [flag, named, remedy] =
      more.length > 0
        ? ['--file', more, 'name it in COMPOSE_FILE in .env']
        : ['--env-file', others, 'move what it says into .env'];
    throw wait(
      at,
      `${service} was started with ${flag} ${named.join(' and ')}, which docker compose does not read of itself: ${remedy}, or run docker compose up -d without it`,
    );
  }
}

const isFile = (hostPath: string, io: Io): boolean =>
  io.files.read(io.mounts.nameOf(hostPath)).type === 'file';

const wait = ({ directory }: Project, words: string): Waiting =>
  new Waiting('OtherCommandLine', `${directory}: ${words}`, AGAIN_MS);
