// A compose project of somebody's on a real engine, and an agent that keeps a part of it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { createDocker } from '../../agent/providers/docker.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { IMAGE, Stack } from './compose-stack.ts';
import type { TestEngine } from './dockerd.ts';
import { eventually } from './eventually.ts';
import { resource, Timeline } from './timeline.ts';

export const KEY = 'ComposeProject/stack';
export const WAIT_MS = 60_000;
const FLAG = '--web.enable-remote-write-receiver';

let projects = 0;

/** @param files in the project's directory, where @PROJECT@ is its name; compose has brought them up. */
export async function beginProject(
  t: TestContext,
  engine: TestEngine,
  files: Readonly<Record<string, string>>,
  up: readonly string[] = [],
) {
  const docker = createDocker(engine.address);
  const processes = createProcesses();
  const line = new Timeline(t, { ports: { docker, processes } });
  const project = `stack${++projects}`;
  const directory = `/srv/${project}`;
  const stack = new Stack(engine, line.path(directory), project);
  for (const [name, text] of Object.entries(files)) stack.write(name, text.replace('@PROJECT@', project));
  t.after(async () => {
    await stack.destroy();
    await Promise.all([docker.close(), processes.close()]);
  });
  await stack.compose(...up, 'up', '--detach');
  const theirs = await stack.containers();
  const secret = path.join(line.directory, 'oauth-secret');
  fs.writeFileSync(secret, 'tskey-\'it\\s" $HOME #1\n');
  const exporter = {
    image: IMAGE,
    restart: 'always',
    network_mode: 'none',
    environment: { TAILNET: 'example.ts.net', OAUTH_SECRET: { secretFrom: { file: secret } } },
  };
  const assign = (more: object = {}) =>
    line.assign(
      resource('ComposeProject', 'stack', {
        directory,
        services: { 'tailscale-exporter': exporter },
        extend: { prometheus: { appendCommand: [FLAG] } },
        ...more,
      }),
    );
  const ready = () =>
    eventually(() => {
      const condition = line.condition(KEY, 'Ready');
      assert.equal(condition?.status, 'True', `${condition?.reason}: ${condition?.message}`);
      const { desiredDigest, runningDigest } = line.status(KEY);
      assert.equal(runningDigest, desiredDigest);
    }, WAIT_MS);
  const stalled = (reason: string, words: RegExp) =>
    eventually(() => {
      const condition = line.condition(KEY, 'Ready');
      assert.equal(condition?.reason, reason, condition?.message ?? 'no status');
      assert.match(condition!.message, words);
    }, WAIT_MS);
  return { line: line.start(), stack, theirs, assign, ready, stalled, exporter, secret };
}
