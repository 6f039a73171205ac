// One Docker engine for the whole of a test file whose tests come from several places.
import { after } from 'node:test';
import { startDockerd, type TestEngine } from './dockerd.ts';

let shared: Promise<TestEngine> | undefined;

/** Started for the first who asks, ended after the last test of the file. */
export function sharedEngine(): Promise<TestEngine> {
  shared ??= startDockerd();
  return shared;
}
after(async () => (await shared)?.stop());
