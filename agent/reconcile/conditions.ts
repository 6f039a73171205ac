// A resource's conditions as it moves: only a change of status or reason is a transition, and only transitions
// are logged, counted and sent as events.
import type { Condition } from '../../api/status.ts';

export class ConditionSet {
  readonly #conditions = new Map<string, Condition>();

  /** @returns whether this was a transition (status or reason changed, or the condition is new). */
  set(type: string, status: Condition['status'], reason: string, message: string, nowMs: number): boolean {
    const before = this.#conditions.get(type);
    const sameStatus = before?.status === status;
    if (sameStatus && before.reason === reason && before.message === message) return false;
    this.#conditions.set(type, {
      type,
      status,
      reason,
      message,
      lastTransitionTime: sameStatus ? before.lastTransitionTime : new Date(nowMs).toISOString(),
    });
    return !sameStatus || before.reason !== reason;
  }

  /** @returns whether there was one. */
  clear(type: string): boolean {
    return this.#conditions.delete(type);
  }

  get(type: string): Condition | undefined {
    return this.#conditions.get(type);
  }

  isTrue(type: string): boolean {
    return this.#conditions.get(type)?.status === 'True';
  }

  list(): Condition[] {
    return [...this.#conditions.values()];
  }
}
