// Inputs that failed once (../shared/cases), on a booted host: the files of inside/ that test/lab/cases.ts lists.
import { after, before, describe, test } from 'node:test';
import { bootCasesHost, CASE_FILES, tryCases } from '../lab/cases.ts';
import type { LabHost } from '../lab/host.ts';
import { cleanup } from '../lab/lifetime.ts';
import { BOOTED_HOSTS, CASES, require } from '../support/capabilities.ts';

describe('on a booted host', { concurrency: true }, () => {
  let host: LabHost;
  before(async () => {
    if ([BOOTED_HOSTS, CASES].some(({ missing }) => missing() !== undefined)) return;
    host = await bootCasesHost();
  });
  after(() => cleanup());

  for (const { file, needs } of CASE_FILES) {
    test(`on a booted host: ${file}`, { timeout: 900_000 }, async (t) => {
      if (!require(t, ...needs)) return;
      for (const line of await tryCases(host, file)) t.diagnostic(line);
    });
  }
});
