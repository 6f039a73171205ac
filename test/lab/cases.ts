/**
 * Cases that failed once, on one booted host: systemd, apt, and a Docker engine with what images they name. Run by `npm run lab` as a step of its own, and by test/integration/cases.test.ts.
 */
import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { APT, BOOTED_HOSTS, CASES, type Capability, COMPOSE, SHARED_CASES } from '../support/capabilities.ts';
import { FLAGS_ONCE } from '../support/compose-stack.ts';
import { repo } from './binaries.ts';
import { DOCKER_ARGUMENTS, importImage, startDocker } from './docker.ts';
import { bootHost, type LabHost } from './host.ts';
import { createWorkDirectory } from './lifetime.ts';
import { createNetwork } from './network.ts';

/** Files of test/integration/inside, and what each needs of the machine. They run beside each other. */
export const CASE_FILES: readonly { readonly file: string; readonly needs: readonly Capability[] }[] = [
  { file: 'cases.ts', needs: [BOOTED_HOSTS, CASES, APT] },
  { file: 'cases-compose.ts', needs: [BOOTED_HOSTS, CASES, COMPOSE] },
  { file: 'cases-container.ts', needs: [BOOTED_HOSTS, CASES, COMPOSE] },
  { file: 'cases-api.ts', needs: [BOOTED_HOSTS, CASES] },
];

export async function bootCasesHost(): Promise<LabHost> {
  const network = await createNetwork();
  const withDocker = COMPOSE.missing() === undefined;
  const host = await bootHost({
    name: 'cases',
    address: network.address(2),
    bridge: network,
    workDir: createWorkDirectory(),
    // A host has a /tmp of its own; the repository is seen, and what is beside it is not.
    readOnlyPaths: [dirname(SHARED_CASES)],
    nspawnArguments: withDocker ? DOCKER_ARGUMENTS : [],
  });
  if (!withDocker) return host;
  await startDocker(host, { bridge: true });
  await importImage(host, 'busybox:stable', { directories: ['/srv'] });
  await importImage(host, 'prom/prometheus:v3.5.0', {
    files: { '/bin/prometheus': FLAGS_ONCE },
    changes: ['ENTRYPOINT ["/bin/prometheus"]'],
  });
  return host;
}

/** @returns a line for each case. @throws AssertionError with all that was printed, when one does not hold */
export async function tryCases(host: LabHost, file: string): Promise<string[]> {
  const options = ['--test-reporter=spec', '--test-isolation=none', '--test-timeout=300000'];
  const only = process.env['HOMEOSTAT_CASES'];
  const some = only === undefined ? [] : [`--test-name-pattern=${only}`];
  const inside = join(repo, 'test/integration/inside', file);
  const command = [process.execPath, '--test', ...options, ...some, inside];
  // Not a child of this test run as far as node knows: it reports to us in words.
  const { exitCode, stdout, stderr } = await host.exec(command, {
    timeout: 890_000,
    env: { NODE_TEST_CONTEXT: '' },
  });
  assert.equal(exitCode, 0, `${stdout}\n${stderr}`);
  return stdout
    .split('\n')
    .filter((line) => /^\s*✔/.test(line))
    .map((line) => line.trim());
}

/** @returns whether all that can be tried here held; it prints a line for each case, and what it leaves out. */
export async function casesHold(): Promise<boolean> {
  const absent = CASES.missing();
  if (absent !== undefined) {
    console.log(`left out: ${CASES.name}: ${absent}; ${CASES.remedy}`);
    return true;
  }
  const can = CASE_FILES.filter(({ file, needs }) => {
    const lacking = needs.find(({ missing }) => missing() !== undefined);
    if (lacking !== undefined) console.log(`left out: ${file}: ${lacking.missing()}; ${lacking.remedy}`);
    return lacking === undefined;
  });
  if (can.length === 0) return true;
  const host = await bootCasesHost();
  const held = await Promise.all(
    can.map(async ({ file }) => {
      try {
        for (const line of await tryCases(host, file)) console.log(`  ${line}`);
        return true;
      } catch (error) {
        console.error(`${file}: ${(error as Error).message}`);
        return false;
      }
    }),
  );
  return held.every(Boolean);
}
