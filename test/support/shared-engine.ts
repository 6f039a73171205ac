// One Docker engine for a whole process whose tests, or measurements, come from several places.
import { startDockerd, type TestEngine } from './dockerd.ts';

let shared: Promise<TestEngine> | undefined;

/** Started for the first who asks; whoever runs the whole ends it. */
export function sharedEngine(): Promise<TestEngine> {
  shared ??= startDockerd();
  return shared;
}

export async function endSharedEngine(): Promise<void> {
  const engine = await shared;
  shared = undefined;
  await engine?.stop();
}
