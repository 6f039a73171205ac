// The commands of one host, as a user types them: exit codes and what is said.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory } from '../support/sandbox.ts';

const program = path.join(path.dirname(path.dirname(import.meta.dirname)), 'cli', 'homeostat.ts');

function begin(t: TestContext) {
  const directory = temporaryDirectory(t);
  const homeostat = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
      cwd: directory,
      encoding: 'utf8',
      timeout: 60_000,
      env: { ...process.env, NO_COLOR: '1' },
    });
    return { status, stdout, stderr };
  };
  return { directory, homeostat };
}

test('init, validate, plan, once, plan: from nothing to a host in sync', (t) => {
  const { directory, homeostat } = begin(t);
  assert.equal(homeostat('init', 'm', '--host', 'pi').status, 0);
  assert.match(homeostat('init', 'm').stderr, /is there already; nothing was written/);
  assert.match(homeostat('validate', 'm').stdout, /^valid: 3 documents in 3 files for 1 host$/m);
  const here = ['--dir', 'm', '--host', 'pi', '--root', 'root'];
  const planned = homeostat('plan', ...here);
  assert.equal(planned.status, 2);
  assert.match(planned.stdout, /~ File\/motd[\s\S]*\+pi: kept by homeostat/);
  assert.equal(fs.existsSync(path.join(directory, 'root/etc')), false, 'plan touches nothing');

  const observed = homeostat('once', ...here);
  assert.equal(observed.status, 2);
  assert.match(observed.stdout, /mode observe: nothing was touched; Host\/pi says spec.mode: enforce/);
  const hosts = path.join(directory, 'm/hosts.yaml');
  fs.writeFileSync(hosts, fs.readFileSync(hosts, 'utf8').replace('mode: observe', 'mode: enforce'));
  const done = homeostat('once', ...here);
  assert.equal(done.status, 0, done.stdout + done.stderr);
  assert.match(done.stdout, /✓ File\/motd[\s\S]*1 of 1 ready/);
  assert.equal(homeostat('plan', ...here).status, 0);

  fs.rmSync(path.join(directory, 'm/motd.yaml'));
  assert.match(homeostat('plan', ...here).stdout, /File\/motd\s+removed: managed → not in the manifest/);
  assert.equal(homeostat('once', ...here).status, 0);
  assert.equal(
    fs.existsSync(path.join(directory, 'root/etc/motd')),
    false,
    'what it created goes with its document',
  );
});

test('mistakes are told with their place, and stop every command', (t) => {
  const { directory, homeostat } = begin(t);
  homeostat('init', 'm', '--host', 'pi');
  const motd = path.join(directory, 'm/motd.yaml');
  fs.writeFileSync(motd, fs.readFileSync(motd, 'utf8').replace('path:', 'pth:'));
  for (const args of [
    ['validate', 'm'],
    ['plan', '--dir', 'm', '--host', 'pi', '--root', 'r'],
    ['once', '--dir', 'm', '--host', 'pi', '--root', 'r'],
    ['render', 'pi', '--dir', 'm'],
  ]) {
    const { status, stdout, stderr } = homeostat(...args);
    assert.equal(status, 1, args.join(' '));
    assert.match(
      stdout + stderr,
      /motd\.yaml:9:3: unknown field "pth": did you mean "path"\?/,
      args.join(' '),
    );
  }
});

test('what is not there is said, with what would be right', (t) => {
  const { homeostat } = begin(t);
  homeostat('init', 'm', '--host', 'raspberry-pi');
  const wrongHost = homeostat('once', '--dir', 'm', '--host', 'rasberry-pi', '--root', 'r');
  assert.match(wrongHost.stderr, /no Host\/rasberry-pi in m, did you mean raspberry-pi\?/);
  assert.equal(wrongHost.status, 1);
  assert.match(
    homeostat('status', '--socket', '/nonexistent/agent.sock').stderr,
    /no agent answers on .*; is it running\?/,
  );
  assert.match(
    homeostat('agent', '--config', '/nonexistent/agent.json').stderr,
    /no such file or directory \(ENOENT\); `homeostat enroll` writes one/,
  );
  assert.match(homeostat('validate', 'nowhere').stderr, /There is no directory nowhere/);
  assert.match(homeostat('suspend', '--for', 'ever').stderr, /A duration is a number with s, m, h or d/);
});
