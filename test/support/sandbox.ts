// A directory of a test's own, gone after it.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';

export function temporaryDirectory(t: TestContext): string {
  const directory = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-test-')));
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  return directory;
}
