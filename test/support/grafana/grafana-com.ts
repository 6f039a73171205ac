// grafana.com's download of dashboards, played on loopback with the recordings.
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { SHARED_DATA } from '../capabilities.ts';

const FILES: Readonly<Record<string, string>> = {
  1860: 'node-exporter-full.json',
  24177: 'tailscale-overview.json',
  24178: 'tailscale-machine.json',
};

export function recording(id: number): string {
  return fs.readFileSync(path.join(SHARED_DATA, 'dashboards', FILES[id]!), 'utf8');
}

/** As the controller's `mirrors`; `asked` counts the downloads. */
export async function serveGrafanaCom(t: TestContext) {
  const asked: string[] = [];
  const server = http.createServer((request, response) => {
    asked.push(request.url ?? '');
    const id = /^\/api\/dashboards\/(\d+)\/revisions\/\d+\/download$/.exec(request.url ?? '')?.[1];
    if (id === undefined || FILES[id] === undefined) response.writeHead(404).end('not found');
    else response.end(recording(Number(id)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { asked, url, mirrors: new Map([['https://grafana.com', url]]) };
}
