// An agent that keeps the config of a fake Alloy, on real files.
import type { TestContext } from 'node:test';
import { systemClock } from '../../agent/providers/clock.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { alloyConfig } from '../../kinds/alloy-config/index.ts';
import { AlloyUnit, type FakeAlloy } from './fake-alloy.ts';
import { temporaryDirectory } from './sandbox.ts';
import { Timeline } from './timeline.ts';

export function lineWith(t: TestContext, alloy: FakeAlloy): { line: Timeline; units: AlloyUnit } {
  const files = createFiles();
  const units = new AlloyUnit(alloy, temporaryDirectory(t), systemClock);
  const line = new Timeline(t, {
    kinds: new Map([[alloyConfig.kind, alloyConfig]]),
    ports: { files, units, http: alloy.http, processes: alloy.processes },
  }).start();
  t.after(async () => {
    await line.stop();
    await files.close();
  });
  return { line, units };
}
