// Where the paths of a manifest lead on a host: what `resolve` says of files.
import type { Permission } from '../kind.ts';
import type { Files } from '../ports.ts';

/** The real places of these paths; links at their own ends are not followed, since nothing is written through them. */
export function placesOf(files: Files, paths: readonly string[], why?: string): Permission[] {
  return paths.map((path) => permission(files.realPath(path), why));
}

/** What these paths lead to, for a program that follows links: a directory stands for all that is in it. */
export function targetsOf(files: Files, paths: readonly string[], why?: string): Permission[] {
  return paths.map((path) => {
    const real = files.realPath(path, true);
    const isWhole = real !== '/' && files.read(real).type === 'directory';
    return permission(isWhole ? `${real}/` : real, why);
  });
}

function permission(value: string, why: string | undefined): Permission {
  return { type: 'path', value, ...(why === undefined ? {} : { why }) };
}
