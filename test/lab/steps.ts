/** How the lab tells what it does and waits for it: each step with its time, what is not ready with its reason. */
import { type AgentStatus, findCondition } from '../../api/status.ts';
import type { LabHost } from './host.ts';

/** Asks without much of a pause until it is so. @returns milliseconds since `since`. @throws Error with the last reason */
export async function until(
  what: string,
  check: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
  since = performance.now(),
): Promise<number> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      if (await check()) return performance.now() - since;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      throw new Error(
        `${what}: not within ${timeoutMs / 1000} s${last === undefined ? '' : ` (${(last as Error).message})`}`,
      );
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export function tell(what: string, ms: number, more = ''): void {
  console.log(`${ms.toFixed(ms < 100 ? 1 : 0).padStart(9)} ms  ${what}${more}`);
}

export async function step<T>(what: string, run: () => Promise<T>): Promise<T> {
  const began = performance.now();
  const result = await run();
  tell(what, performance.now() - began);
  return result;
}

export async function statusOf(host: LabHost): Promise<AgentStatus> {
  const { stdout } = await host.exec(['homeostat', 'status', '--output', 'json']);
  return (JSON.parse(stdout) as { status: AgentStatus }).status;
}

/** What is not ready, each with its reason; what the manifest suspends is as it should be. */
export function problems(status: AgentStatus): string[] {
  return status.resources.flatMap(({ key, conditions }) => {
    const ready = findCondition(conditions, 'Ready');
    const isFine = ready?.status === 'True' || ready?.reason === 'Suspended';
    return isFine ? [] : [`${key}: ${ready?.reason}: ${ready?.message}`];
  });
}

export async function allReady(host: LabHost, timeoutMs = 60_000): Promise<void> {
  let last: string[] = [];
  await until(
    `${host.name} ready`,
    async () => {
      const status = await statusOf(host);
      last = problems(status);
      return status.resources.length > 0 && last.length === 0;
    },
    timeoutMs,
  ).catch((error: Error) => {
    throw new Error(`${error.message}: ${last.join('; ')}`);
  });
}

export async function isReady(host: LabHost, key: string): Promise<boolean> {
  const { resources } = await statusOf(host);
  const resource = resources.find((r) => r.key === key);
  return resource !== undefined && findCondition(resource.conditions, 'Ready')?.status === 'True';
}
