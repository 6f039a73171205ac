// The registry: every kind there is, one line each. Nothing is found by looking through folders.
import { file } from './file/index.ts';
import type { AnyKind } from './kind.ts';

const all: readonly AnyKind[] = [file];

export const kinds: ReadonlyMap<string, AnyKind> = new Map(all.map((kind) => [kind.kind, kind]));
