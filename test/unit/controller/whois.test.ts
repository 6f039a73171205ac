// tailscaled's LocalAPI as FACTS.md has it, played by a small server on a unix socket.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { TailscaleWhois } from '../../../controller/source/whois.ts';

const scratch = mkdtempSync(join(tmpdir(), 'homeostat-whois-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

test('whois tells node, login and capabilities; strangers are nobody; a tagged device has no login', async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.headers.host} ${request.url}`);
    const address = new URL(request.url ?? '', 'http://x').searchParams.get('addr') ?? '';
    const node = { StableID: 'n1', Name: 'pi.example.ts.net.' };
    const user = { LoginName: 'me@example.com' };
    if (address.startsWith('100.64.0.8')) {
      response.end(
        JSON.stringify({ Node: node, UserProfile: user, CapMap: { 'homeostat.dev/cap/operator': null } }),
      );
    } else if (address.startsWith('[fd7a::8]')) {
      response.end(
        JSON.stringify({
          Node: { ...node, Tags: ['tag:server'] },
          UserProfile: { LoginName: 'tagged-devices' },
          CapMap: null,
        }),
      );
    } else if (address.startsWith('100.64.0.9')) response.writeHead(500).end('broken');
    else response.writeHead(404).end('no match for IP:port');
  });
  const socket = join(scratch, 'tailscaled.sock');
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const whois = new TailscaleWhois(socket);
  assert.deepEqual(await whois.whois('100.64.0.8', 41000), {
    nodeID: 'n1',
    nodeName: 'pi.example.ts.net',
    login: 'me@example.com',
    capabilities: ['homeostat.dev/cap/operator'],
  });
  assert.equal((await whois.whois('fd7a::8', 1))?.login, '');
  assert.equal(await whois.whois('192.0.2.1', 1), undefined);
  await assert.rejects(whois.whois('100.64.0.9', 1), /answers whois with 500: broken/);
  assert.equal(asked[0], 'local-tailscaled.sock /localapi/v0/whois?addr=100.64.0.8%3A41000');
  await whois.close();
  await new Promise((resolve) => server.close(resolve));
  await assert.rejects(new TailscaleWhois(socket).whois('100.64.0.8', 1));
});
