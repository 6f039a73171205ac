import type { Desired } from '../../kinds/kind.ts';

/** What the steps of a kind get: of a resource that is new here, and whose content is text that nobody keeps secret. */
export function desiredOf<S, M = unknown>(
  key: string,
  spec: S,
  more: Partial<Desired<S, M>> = {},
): Desired<S, M> {
  return {
    key,
    spec,
    host: { name: 'h', labels: {} },
    digest: 'd',
    heal: false,
    held: [],
    own: [],
    refusal: () => undefined,
    inputs: {},
    memory: undefined,
    content: (value) => ({ bytes: Buffer.from(String(value)), secret: false }),
    ...more,
  };
}
