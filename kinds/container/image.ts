// The image that a container is made of: pulled, with an account where the registry wants one; and those that it had
// before, removed.
import { ask, EngineError, requireImage } from '../docker-engine.ts';
import type { Docker } from '../ports.ts';
import { registryOf } from '../shared/images.ts';
import type { D } from './schema.ts';

/** @throws what requireImage does. */
export async function pullImage(
  d: D,
  pull: 'missing' | 'always' | 'never',
  docker: Docker,
  signal: AbortSignal,
): Promise<void> {
  const { image, registry } = d.spec;
  const denied =
    registry === undefined
      ? 'if it is not for everyone, name an account: registry: { username: …, password: { secretFrom: … } }'
      : `the registry was asked as ${registry.username}: is that account’s password right, and may it have the image?`;
  const account =
    registry === undefined
      ? undefined
      : {
          registry: registryOf(image),
          username: registry.username,
          password: d.content(registry.password).bytes.toString('utf8'),
        };
  await requireImage(docker, image, pull, signal, { account, denied });
}

const MOST_OLD_IMAGES = 20;

/**
 * Images that were in service here before. That of a state that was refused is not among them: a refused state whose
 * image is gone is another one to the loop, pulled and tried again.
 * @param now the image of the container in service.
 * @param replaced those of containers whose place it takes.
 */
export function oldImages({ spec, memory }: D, now: string, replaced: readonly string[] = []): string[] {
  if (spec.removeOldImages !== true) return [];
  const had = new Set([...(memory?.oldImages ?? []), ...replaced]);
  had.delete(now);
  return [...had].slice(-MOST_OLD_IMAGES);
}

/** Not by force: what any container has, running or not, or has another name as well, the engine keeps. */
export async function removeImages(
  images: readonly string[],
  docker: Docker,
  signal: AbortSignal,
): Promise<void> {
  for (const image of images) {
    try {
      await ask(docker, 'DELETE', `/images/${encodeURIComponent(image)}`, { signal });
    } catch (error) {
      // Whatever keeps it, the container is as it should be.
      if (!(error instanceof EngineError)) throw error;
    }
  }
}
