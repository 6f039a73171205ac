// What Package reads and compares; dpkg itself is the judge of the order of versions, where there is one.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { createFiles } from '../../../agent/providers/files.ts';
import { messageOf, requireUnlocked } from '../../../kinds/apt.ts';
import { choose, pinnedAway, readPolicy, readSimulation } from '../../../kinds/package/apt-output.ts';
import { readPackage } from '../../../kinds/package/dpkg-status.ts';
import { packageKind } from '../../../kinds/package/index.ts';
import { installing, simulate } from '../../../kinds/package/transaction.ts';
import { compareVersions, fits } from '../../../kinds/package/version.ts';
import { APT, require } from '../../support/capabilities.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

const VERSIONS = [
  ...[
    '0',
    '1',
    '1.0',
    '1.0.1',
    '1.10',
    '1.2',
    '1.0-1',
    '1.0-1ubuntu1',
    '1.0-1+b1',
    '1.0-1.1',
    '1:0.1',
    '2:0',
  ],
  ...[
    '1.0~rc1',
    '1.0~rc1~a',
    '1.0~',
    '1.0a',
    '1.0+dfsg',
    '1.0.a',
    '1.0-~1',
    '1.8.3-1',
    '1.8.03-1',
    '10',
    '1..0',
  ],
  ...['1.0-1-2', '2024.01.01', '0~', '1.0Z', '1.0a-0', '1.99999999999999999999', '1.100000000000000000000'],
];

test('versions are ordered as deb-version(7) says', () => {
  const ordered = ['1.0~rc1', '1.0', '1.0a', '1.0+dfsg', '1.0.1', '1.2', '1.10', '1:0.1'];
  for (const [i, a] of ordered.entries())
    for (const [j, b] of ordered.entries())
      assert.equal(Math.sign(compareVersions(a, b)), Math.sign(i - j), `${a} and ${b}`);
  assert.equal(compareVersions('1.0', '1.0-'), 0);
  assert.equal(compareVersions('0:1.08', '1.8'), 0);
});

test('dpkg orders versions in the same way', (t) => {
  if (!require(t, APT)) return;
  // One shell for all pairs: hundreds of processes of their own take a minute on a busy machine.
  const pairs = VERSIONS.flatMap((a) => VERSIONS.map((b) => [a, b] as const));
  const script = 'while read -r a b; do dpkg --compare-versions "$a" lt "$b" && echo lt || echo ge; done';
  const input = pairs.map((pair) => `${pair.join(' ')}\n`).join('');
  const answers = execFileSync('sh', ['-c', script], { input, encoding: 'utf8' }).trim().split('\n');
  assert.equal(answers.length, pairs.length);
  for (const [i, [a, b]] of pairs.entries())
    assert.equal(compareVersions(a, b) < 0, answers[i] === 'lt', `${a} and ${b}`);
});

test('a pattern’s "*" is any text, and nothing else in it is special', () => {
  assert.ok(fits('1.8.3-1', '1.8.*'));
  assert.ok(fits('1:1.8', '*1.8'));
  assert.ok(!fits('1x8.3', '1.8.*'));
  assert.ok(!fits('11.8.3', '1.8.*'));
  assert.ok(fits('1.0+dfsg', '1.0+dfsg'));
});

const POLICY = `alloy:
  Installed: 1.7.0-1
  Candidate: 1.8.3-1
  Version table:
     1.9.0-1 100
        100 https://apt.grafana.com beta/main amd64 Packages
     1.8.3-1 500
        500 https://apt.grafana.com stable/main amd64 Packages
        500 http://mirror stable/main amd64 Packages
     1.8.2-1 500
        500 https://apt.grafana.com stable/main amd64 Packages
 *** 1.7.0-1 100
        100 /var/lib/dpkg/status
`;

test('the version to install: the candidate, or the newest that fits; never one that is only installed', () => {
  const policy = readPolicy(POLICY);
  assert.deepEqual([policy.candidate, policy.versions], ['1.8.3-1', ['1.9.0-1', '1.8.3-1', '1.8.2-1']]);
  assert.equal(choose(policy, 'latest'), '1.8.3-1');
  assert.equal(choose(policy, '1.*'), '1.8.3-1', 'apt’s choice before a newer one that it would not take');
  assert.equal(choose(policy, '1.9.*'), '1.9.0-1');
  assert.equal(choose(policy, '1.7.*'), undefined);
  assert.deepEqual(readPolicy('x:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n'), {
    candidate: undefined,
    versions: [],
    priorities: {},
  });
});

test('what the host’s owner pins away is never chosen, and named', () => {
  const policy = readPolicy(`agent:
  Installed: (none)
  Candidate: 2.0-1
  Version table:
     2.0-1 500
        500 file:/srv/repo ./ Packages
     1.2-1 -1
        500 file:/srv/repo ./ Packages
     1.1-1 100
        500 file:/srv/repo ./ Packages
     1.0-1 900
        500 file:/srv/repo ./ Packages
`);
  assert.equal(choose(policy, '1.*'), '1.0-1', 'the one that apt prefers of those that fit');
  assert.equal(choose(policy, '1.2-1'), undefined);
  assert.equal(choose(policy, '1.1-1'), '1.1-1');
  assert.deepEqual(pinnedAway(policy, '1.2-1'), ['1.2-1 (priority -1)']);
  assert.deepEqual(pinnedAway(policy, '3.*'), []);
});

test('a simulation tells what would go and what would become older', () => {
  const text = [
    'Remv theirs [1.0]',
    'Purg config [2]',
    'Inst new (1.0 stable [all])',
    'Inst up [1.0] (1.1 stable [all]) []',
    'Inst down:i386 [2:1.0] (1.9 stable [i386])',
    'Conf up (1.1 stable [all])',
  ].join('\n');
  assert.deepEqual(readSimulation(text), {
    removed: ['theirs', 'config'],
    downgraded: [{ name: 'down:i386', from: '2:1.0', to: '1.9' }],
  });
});

test('dpkg’s file: the package itself, not one that it is part of, and what was not yet merged', (t) => {
  const root = temporaryDirectory(t);
  const files = createFiles({ root });
  t.after(() => files.close());
  assert.throws(() => readPackage(files, 'alloy'), { name: 'Stalled', reason: 'NoDpkg' });
  const stanza = (name: string, status: string, version: string, architecture = 'amd64') =>
    `Package: ${name}\nStatus: ${status}\nArchitecture: ${architecture}\nDepends: alloy\nVersion: ${version}\nDescription: x\n Package: alloy\n\n`;
  const dpkg = path.join(root, 'var/lib/dpkg');
  fs.mkdirSync(path.join(dpkg, 'updates'), { recursive: true });
  const write = (...stanzas: string[]) => fs.writeFileSync(path.join(dpkg, 'status'), stanzas.join(''));
  write(stanza('alloy-extra', 'install ok installed', '9'), stanza('not-alloy', 'install ok installed', '8'));
  assert.equal(readPackage(files, 'alloy'), undefined);
  write(stanza('alloy', 'deinstall ok config-files', '1'));
  assert.equal(readPackage(files, 'alloy'), undefined);
  write(stanza('alloy', 'hold ok installed', '1:1.0-1'));
  assert.deepEqual(readPackage(files, 'alloy'), {
    version: '1:1.0-1',
    want: 'hold',
    flag: 'ok',
    state: 'installed',
    architecture: 'amd64',
  });
  fs.writeFileSync(path.join(dpkg, 'updates/0000'), stanza('alloy', 'install ok unpacked', '1:2.0-1'));
  assert.equal(readPackage(files, 'alloy')?.state, 'unpacked');
  fs.rmSync(path.join(dpkg, 'updates/0000'));
  const ok = 'install ok installed';
  write(
    stanza('alloy', ok, '1', 'i386'),
    stanza('alloy', ok, '2', 'arm64'),
    stanza('dpkg', ok, '1', 'arm64'),
  );
  assert.equal(readPackage(files, 'alloy')?.version, '2', 'the host’s own architecture');
});

test('a lock says who holds it, in apt’s words and in dpkg’s', () => {
  const failed = (stdout: string, stderr: string) => () => requireUnlocked({ exitCode: 100, stdout, stderr });
  const waiting = (message: string) => ({ name: 'Waiting', reason: 'DpkgLocked', message });
  assert.throws(
    failed(
      'Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 77 (apt)...\n',
      'E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?\n',
    ),
    waiting('dpkg’s lock is held by process 77 (apt)'),
  );
  assert.throws(
    failed('', 'E: Could not get lock /var/lib/apt/lists/lock. It is held by process 78 (packagekitd)\n'),
    waiting('the lock of apt’s lists is held by process 78 (packagekitd)'),
  );
  assert.throws(
    failed('', 'dpkg: error: dpkg frontend lock was locked by another process with pid 79\nNote: x\n'),
    waiting('dpkg’s lock is held by process 79'),
  );
  assert.throws(
    failed('', 'E: Could not get lock /var/lib/dpkg/lock - open (11: Resource temporarily unavailable)\n'),
    waiting('dpkg’s lock is held by another process'),
  );
  assert.doesNotThrow(failed('', 'E: Unable to locate package x\n'));
});

test('what went wrong is told in one line', () => {
  const stderr =
    'W: something\ndpkg: error processing package a (--configure):\n installed a package post-installation script subprocess returned error exit status 1\nE: Sub-process /usr/bin/dpkg returned an error code (1)\n';
  assert.equal(
    messageOf({ exitCode: 100, stdout: '', stderr }),
    'something; dpkg: error processing package a (--configure): installed a package post-installation script subprocess returned error exit status 1; Sub-process /usr/bin/dpkg returned an error code (1)',
  );
});

test('a package that can’t be fetched to be unpacked anew is an error, though apt calls it a success', async () => {
  const stdout =
    'Reading state information...\nReinstallation of less is not possible, it cannot be downloaded.\n';
  const processes = { run: async () => ({ exitCode: 0, stdout, stderr: '' }) };
  const args = installing({ name: 'less' }, '590-2');
  const leave = { mayRemove: [], allowDowngrade: false };
  await assert.rejects(
    simulate('less', args, leave, { processes, files: {} } as never, new AbortController().signal),
    /less is not possible, it cannot be downloaded/,
  );
});

test('the schema refuses what apt would take for something else', () => {
  const parse = (spec: object) => packageKind.spec.safeParse(spec).success;
  assert.ok(parse({ name: 'libstdc++6', version: '1:2.3~rc1-1+b2' }));
  for (const name of ['-y', 'a', 'Alloy', 'alloy=1', 'alloy/stable', 'a b', '../x.deb', 'alloy-', '*'])
    assert.ok(!parse({ name }), name);
  assert.ok(!parse({ name: 'alloy', version: '1.0 -o x' }));
});
