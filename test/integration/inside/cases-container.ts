// The cases that failed once and need a Docker engine alone, each as its README says.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createDocker } from '../../../agent/providers/docker.ts';
import { eventually } from '../../support/eventually.ts';
import { Timeline } from '../../support/timeline.ts';
import { begin, docker, shell, WITHIN_MS } from './cases-support.ts';

test('13: a container follows the one whose network it has joined', async (t) => {
  const { once, edit, directory, resources } = begin(t, '13');
  t.after(() => shell('docker rm --force bug13-tunnel bug13-client'));
  // The case writes its page to /srv and serves /tmp; and busybox's wget can't look up names here.
  edit((text) =>
    text
      .replace('-h /tmp', '-h /srv')
      .replace(/wget -q -O- \S+/, "printf ''GET /index.html HTTP/1.0\\r\\n\\r\\n'' | nc 127.0.0.1 8088")
      .replace('|| echo lost', '| tail -n 1'),
  );
  const of = (name: string, what: string): string => docker('inspect', '--format', what, name);
  const joined = (): void => {
    const [mode, tunnel] = [of('bug13-client', '{{.HostConfig.NetworkMode}}'), of('bug13-tunnel', '{{.Id}}')];
    assert.equal(mode, `container:${tunnel}`);
    assert.ok(of('bug13-client', '{{.State.StartedAt}}') > of('bug13-tunnel', '{{.State.StartedAt}}'));
  };
  const hears = (word: string): Promise<void> =>
    eventually(() => {
      assert.equal(docker('logs', '--tail', '1', 'bug13-client'), word);
    }, WITHIN_MS);
  const first = once();
  assert.equal(first.status, 0, first.text);
  await hears('tunnel');
  const created = ['bug13-tunnel', 'bug13-client'].map((name) => of(name, '{{.Id}} {{.State.StartedAt}}'));
  const again = once();
  assert.equal(again.status, 0, again.text);
  assert.deepEqual(
    ['bug13-tunnel', 'bug13-client'].map((name) => of(name, '{{.Id}} {{.State.StartedAt}}')),
    created,
  );
  edit((text) => text.replace('echo tunnel', 'echo tunnel2'));
  const changed = once();
  assert.equal(changed.status, 0, changed.text);
  joined();
  await hears('tunnel2');

  const port = createDocker('unix:///var/run/docker.sock');
  const line = new Timeline(t, { directory, onHost: true, ports: { docker: port }, withinMs: WITHIN_MS });
  try {
    line.start().assign(...resources());
    for (const key of ['Container/tunnel', 'Container/client']) await line.expect(key, 'True');
    for (const byHand of [
      ['restart', '--time=1'],
      ['rm', '--force'],
    ]) {
      docker(...byHand, 'bug13-tunnel');
      await eventually(joined, WITHIN_MS);
      await hears('tunnel2');
    }
  } finally {
    await line.stop();
    await port.close();
  }
});
