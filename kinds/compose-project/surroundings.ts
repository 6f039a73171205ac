// The files beside the user's, as they are, and where ours goes among them.
import path from 'node:path';
import { Waiting } from '../../api/errors.ts';
import type { FileState } from '../ports.ts';
import type { Io, Project } from './compose.ts';
import { AGAIN_MS } from './fit.ts';
import {
  BASE_NAMES,
  LISTED,
  OVERRIDE,
  OVERRIDE_NAMES,
  type Placement,
  PlacementError,
  place,
} from './placement.ts';
import { isOurs } from './render.ts';
import type { ComposeProjectSpec } from './schema.ts';

/** The files beside the user's, as they are. */
export interface Surroundings {
  readonly placement: Placement;
  /** Of .env; undefined for no file. */
  readonly dotenv: string | undefined;
  /** Ours, where it is or might be. */
  readonly own: Readonly<Record<typeof OVERRIDE | typeof LISTED, FileState>>;
  /** Whose the user's files are: ours are to be as readable. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
}

export const projectOf = (spec: ComposeProjectSpec): Project => ({
  directory: spec.directory,
  name: spec.project ?? null,
  program: spec.docker ?? 'docker',
});

export const inProject = (at: Project, name: string): string => path.resolve(at.directory, name);

/** The files as compose is to read them. */
export const filesOf = ({ base, own }: Placement): readonly string[] => [...base, own];

/** @throws Waiting where ours can't be placed. */
export function surroundingsOf(at: Project, io: Io): Surroundings {
  const read = (name: string) => io.files.read(inProject(at, name));
  const theirs = new Set<string>();
  let owner: Surroundings['owner'];
  for (const name of [...BASE_NAMES, ...OVERRIDE_NAMES]) {
    const state = read(name);
    if (state.type === 'absent') continue;
    if (state.type === 'file') {
      const text = state.content.toString();
      // An empty override is nobody's; compose refuses it.
      if (isOurs(text) || (name === OVERRIDE && text.trim() === '')) continue;
      owner ??= { uid: state.uid, gid: state.gid };
    }
    theirs.add(name);
  }
  const env = read('.env');
  const override = read(OVERRIDE);
  try {
    if (env.type !== 'absent' && env.type !== 'file') {
      throw new PlacementError('.env is no regular file: COMPOSE_FILE is looked for in it');
    }
    const dotenv = env.type === 'file' ? env.content.toString() : undefined;
    return {
      placement: place(theirs, dotenv),
      dotenv,
      own: {
        [OVERRIDE]: theirs.has(OVERRIDE) ? { type: 'absent' } : override,
        [LISTED]: read(LISTED),
      },
      owner,
    };
  } catch (error) {
    if (error instanceof PlacementError) {
      throw new Waiting('Unplaceable', `${at.directory}: ${error.message}`, AGAIN_MS);
    }
    throw error;
  }
}
