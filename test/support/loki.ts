// A Loki for tests: the real one, when LOKI_BIN names it (started as Loki's own example of a single binary is); else
// a stand-in for the two routes that matter here, after grafana.com/docs/loki/latest/reference/loki-http-api: push as
// JSON, and the instant query of a count of lines. It is not Loki: of LogQL it knows `count_over_time({…}[range])`
// with labels that are equal, and `sum(…)` around it; everything else it refuses as Loki refuses what it can't parse.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { freePort } from './alloy/harness.ts';
import { eventually } from './eventually.ts';
import { temporaryDirectory } from './sandbox.ts';

export interface RunningLoki {
  readonly url: string;
  readonly isStandIn: boolean;
  stop(): Promise<void>;
  start(): Promise<void>;
}

type Labels = Readonly<Record<string, string>>;
interface Entry {
  readonly labels: Labels;
  readonly atMs: number;
}

/** Pushes a line of now. @returns the status that is answered */
export async function pushLine(url: string, labels: Labels, line: string): Promise<number> {
  const body = { streams: [{ stream: labels, values: [[`${Date.now()}000000`, line]] }] };
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${url}/loki/api/v1/push`, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
  });
  return answer.status;
}

export async function startLoki(t: TestContext): Promise<RunningLoki> {
  const binary = process.env['LOKI_BIN'];
  const port = await freePort();
  const loki = binary === undefined ? standIn(port) : real(t, binary, port);
  await loki.start();
  t.after(() => loki.stop());
  if (loki.isStandIn) t.diagnostic('Loki is a stand-in (LOKI_BIN names a real one)');
  return loki;
}

function standIn(port: number): RunningLoki {
  const entries: Entry[] = [];
  let server: http.Server | undefined;
  return {
    url: `http://127.0.0.1:${port}`,
    isStandIn: true,
    async start() {
      server = http.createServer(async (request, response) => {
        let body = '';
        for await (const chunk of request) body += chunk;
        const { status, text } = answer(entries, request.method ?? 'GET', request.url ?? '/', body);
        // Loki's own errors are plain text.
        const type = status === 200 ? 'application/json' : 'text/plain; charset=utf-8';
        response.writeHead(status, { 'content-type': type }).end(text);
      });
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
    async stop() {
      if (server?.listening !== true) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

const COUNT = /^count_over_time\(\s*\{([^}]*)\}\s*\[(\d+)([smh])\]\s*\)$/;
const UNIT_MS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000 };

function answer(
  entries: Entry[],
  method: string,
  url: string,
  body: string,
): { status: number; text: string } {
  const { pathname, searchParams } = new URL(url, 'http://loki');
  if (method === 'POST' && pathname === '/loki/api/v1/push') {
    const { streams } = JSON.parse(body) as { streams: { stream: Labels; values: [string, string][] }[] };
    for (const { stream, values } of streams) {
      for (const [at] of values) entries.push({ labels: stream, atMs: Number(at.slice(0, -6)) });
    }
    return { status: 204, text: '' };
  }
  if (method !== 'GET' || pathname !== '/loki/api/v1/query')
    return { status: 404, text: '404 page not found' };
  const query = searchParams.get('query')?.trim() ?? '';
  if (query.startsWith('{')) {
    const text =
      'log queries are not supported as an instant query type, please change your query to a range query type';
    return { status: 400, text };
  }
  const sum = /^sum\((.*)\)$/s.exec(query)?.[1]?.trim();
  const count = COUNT.exec(sum ?? query);
  if (count === null) return { status: 400, text: `parse error : syntax error: unexpected IDENTIFIER` };
  const wanted = [...count[1]!.matchAll(/(\w+)\s*=\s*"([^"]*)"/g)].map(([, k, v]) => [k!, v!] as const);
  const sinceMs = Date.now() - Number(count[2]) * UNIT_MS[count[3]!]!;
  const counts = new Map<string, number>();
  for (const { labels, atMs } of entries) {
    if (atMs < sinceMs || !wanted.every(([k, v]) => labels[k] === v)) continue;
    const key = JSON.stringify(sum === undefined ? labels : {});
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const result = [...counts].map(([labels, n]) => ({
    metric: JSON.parse(labels) as Labels,
    value: [Date.now() / 1000, String(n)],
  }));
  return {
    status: 200,
    text: JSON.stringify({ status: 'success', data: { resultType: 'vector', result, stats: {} } }),
  };
}

/** Loki's own example for one process with everything in memory and on disk (cmd/loki/loki-local-config.yaml). */
function real(t: TestContext, binary: string, port: number): RunningLoki {
  const directory = temporaryDirectory(t);
  const config = path.join(directory, 'loki.yaml');
  const settings = {
    auth_enabled: false,
    server: { http_listen_address: '127.0.0.1', http_listen_port: port, grpc_listen_port: 0 },
    common: {
      instance_addr: '127.0.0.1',
      path_prefix: directory,
      replication_factor: 1,
      ring: { kvstore: { store: 'inmemory' } },
      storage: {
        filesystem: { chunks_directory: `${directory}/chunks`, rules_directory: `${directory}/rules` },
      },
    },
    schema_config: {
      configs: [
        {
          from: '2024-01-01',
          store: 'tsdb',
          object_store: 'filesystem',
          schema: 'v13',
          index: { prefix: 'index_', period: '24h' },
        },
      ],
    },
    analytics: { reporting_enabled: false },
  };
  fs.writeFileSync(config, JSON.stringify(settings)); // JSON is YAML
  const url = `http://127.0.0.1:${port}`;
  let child: ReturnType<typeof spawn> | undefined;
  return {
    url,
    isStandIn: false,
    async start() {
      child = spawn(binary, [`-config.file=${config}`], { stdio: 'ignore' });
      await eventually(async () => {
        if (!(await fetch(`${url}/ready`)).ok) throw new Error('Loki is not ready');
      }, 60_000);
    },
    async stop() {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}
