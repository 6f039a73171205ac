// A kind for tests of the loop: a device with a value, in a map that outlives the agent, whose every step can be
// made to fail or to stop half-way.
import * as z from 'zod';
import { Stalled } from '../../api/errors.ts';
import { type AnyKind, defineKind, type Verdict } from '../../kinds/kind.ts';

const Spec = z.strictObject({
  value: z.string(),
  restartOn: z.array(z.string()).optional(),
});

const Before = z.object({ key: z.string(), value: z.string().nullable() });

export class Devices {
  readonly values: Map<string, string>;
  /** What was done, in order: observe is left out. */
  readonly log: string[] = [];
  readonly wakes = new Map<string, () => void>();
  version = '1';
  gate: (value: string) => Verdict = () => ({ verdict: 'Yes' });
  /** Throws here to fail a step; `apply` waits for what it returns. */
  hook: (step: 'observe' | 'prepare' | 'apply' | 'undo', value: string) => void | Promise<void> = () => {};
  /** Instead of undoing, when it returns a promise or throws. */
  undoing: () => void | Promise<void> = () => {};
  readonly kind: AnyKind;

  /** @param values that outlive the process, where they are to. */
  constructor(values = new Map<string, string>()) {
    this.values = values;
    const devices = this;
    this.kind = defineKind<z.infer<typeof Spec>, string | undefined, never, z.infer<typeof Before>>({
      kind: 'Device',
      scope: 'host',
      spec: Spec,
      before: { version: 1, schema: Before },
      needs: [],
      owns: () => [],
      permissions: () => [],
      inputs: (spec) => spec.restartOn ?? [],
      healLimit: { burst: 3, perSecond: 0.001 },
      async observe(d) {
        devices.hook('observe', d.spec.value);
        return devices.values.get(d.key);
      },
      diff: (d, observed) =>
        observed === d.spec.value ? [] : [{ what: 'value', from: observed ?? 'none', to: d.spec.value }],
      async prepare(d, observed) {
        devices.log.push(`prepare ${d.spec.value}`);
        devices.hook('prepare', d.spec.value);
        if (d.spec.value === 'invalid') throw new Stalled('Invalid', 'the device can’t do that');
        return { existed: observed !== undefined, before: { key: d.key, value: observed ?? null } };
      },
      async apply(changes, d) {
        devices.log.push(`${changes.length === 0 ? 'activate' : 'apply'} ${d.spec.value}`);
        await devices.hook('apply', d.spec.value);
        if (d.spec.value === 'refused') {
          devices.values.set(d.key, 'broken by refusal');
          throw new Stalled('Refused', 'the device said no');
        }
        devices.values.set(d.key, d.spec.value);
        return undefined;
      },
      assess: (d) => devices.gate(d.spec.value),
      async undo({ key, value }, _record, _io, signal) {
        devices.log.push(`undo to ${value}`);
        devices.hook('undo', String(value));
        const aborted = new Promise<never>((_, reject) =>
          signal.addEventListener('abort', () => reject(new Error('aborted'))),
        );
        await Promise.race([devices.undoing(), aborted]);
        if (value === null) devices.values.delete(key);
        else devices.values.set(key, value);
      },
      async watch(d, _io, wake, signal) {
        devices.wakes.set(d.key, wake);
        wake();
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      },
      version: async () => devices.version,
    });
  }

  get kinds(): ReadonlyMap<string, AnyKind> {
    return new Map([['Device', this.kind]]);
  }

  /** Somebody else changes the device. */
  tamper(key: string, value: string): void {
    this.values.set(key, value);
    this.wakes.get(key)?.();
  }
}
