// The stand-in for Fluent Bit: our own config passes, what Fluent Bit's documentation does not have is refused, and a
// line of the journal arrives as the loki output would send it.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory } from '../../support/sandbox.ts';

const STANDIN = path.join(import.meta.dirname, '../../support/fluent-bit/fluent-bit.ts');
const OURS = fs
  .readFileSync(path.join(import.meta.dirname, '../../../manifests/lean/fluent-bit.conf'), 'utf8')
  .replace('${vars.central}', '127.0.0.1')
  .replace('${host.name}', 'pi');

function written(t: TestContext, text: string): { directory: string; file: string } {
  const directory = temporaryDirectory(t);
  const file = path.join(directory, 'fluent-bit.conf');
  fs.writeFileSync(file, text);
  return { directory, file };
}

test('the config of manifests/lean passes; unknown sections and keys are refused', (t) => {
  const check = (text: string) =>
    spawnSync(process.execPath, [STANDIN, '-c', written(t, text).file, '--dry-run'], { encoding: 'utf8' });
  assert.equal(check(OURS).status, 0, check(OURS).stderr);
  assert.match(check(OURS.replace('Allowlist_key', 'Allowlst_key')).stderr, /has no key allowlst_key/);
  assert.match(check(OURS.replace(/Name +loki/, 'Name lokki')).stderr, /\[OUTPUT lokki\] is not modelled/);
  assert.match(check(`Flush 5\n${OURS}`).stderr, /a key of a section must be indented/);
});

test('the message of a journal entry is what is sent, with our labels', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { directory, file } = written(t, OURS.replace('3100', String(port)));
  const entry = { MESSAGE: 'hello', _PID: '1', __REALTIME_TIMESTAMP: '1700000000000000' };
  const journalctl = path.join(directory, 'journalctl');
  fs.writeFileSync(journalctl, `#!/bin/sh\necho '${JSON.stringify(entry)}'\nexec sleep 1000\n`, {
    mode: 0o755,
  });
  const child = spawn(process.execPath, [STANDIN, '-c', file], {
    env: { ...process.env, PATH: `${directory}:${process.env['PATH']}` },
    stdio: 'ignore',
  });
  t.after(async () => {
    const closed = once(child, 'close');
    child.kill();
    await closed;
    server.closeAllConnections();
    server.close();
  });
  const [request, response] = await once(server, 'request');
  const body = Buffer.concat(await request.toArray()).toString();
  response.writeHead(204).end();
  assert.equal(request.url, '/loki/api/v1/push');
  assert.deepEqual(JSON.parse(body), {
    streams: [{ stream: { job: 'journal', host: 'pi' }, values: [['1700000000000000000', 'hello']] }],
  });
});
