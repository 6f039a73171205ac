// A repository behind real git over HTTP: git-http-backend(1), which is CGI. Answers can be made to hang or fail.
import { spawn } from 'node:child_process';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';

/** What the server does in place of its work. */
type Mood = 'well' | 'hangs' | 'fails' | 'plain files';

export interface GitServer {
  readonly url: string;
  mood: Mood;
  /** How many requests from now on are answered with 503. */
  failures: number;
  /** Requests by path and query, as they came. */
  readonly requests: string[];
  stop(): Promise<void>;
}

/** @param root folder below which repositories are. */
export async function startGitServer(root: string): Promise<GitServer> {
  const requests: string[] = [];
  const server = http.createServer((request, response) => {
    requests.push(request.url ?? '');
    if (self.mood === 'hangs') return;
    if (self.failures > 0) self.failures -= 1;
    else if (self.mood !== 'fails') return work(request, response);
    response.writeHead(503).end();
  });
  const work = (request: http.IncomingMessage, response: http.ServerResponse): void => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => answer(root, request, Buffer.concat(chunks), response, self.mood));
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const self: GitServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    mood: 'well',
    failures: 0,
    requests,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return self;
}

function answer(
  root: string,
  request: http.IncomingMessage,
  body: Buffer,
  response: http.ServerResponse,
  mood: Mood,
): void {
  const { pathname, search } = new URL(request.url ?? '', 'http://x');
  const bytes = request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
  const child = spawn('git', ['-c', 'safe.directory=*', 'http-backend'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: '/nonexistent',
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      REQUEST_METHOD: request.method ?? '',
      PATH_INFO: decodeURIComponent(pathname),
      // Without the service's name it is the protocol for plain files.
      QUERY_STRING: mood === 'plain files' ? '' : search.slice(1),
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      CONTENT_LENGTH: String(bytes.length),
      REMOTE_ADDR: '127.0.0.1',
      ...(request.headers['git-protocol'] === undefined
        ? {}
        : { GIT_PROTOCOL: String(request.headers['git-protocol']) }),
    },
  });
  const out: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stdin.on('error', () => {});
  child.stdin.end(bytes);
  child.once('close', () => {
    const all = Buffer.concat(out);
    const end = all.indexOf('\r\n\r\n');
    const headers = all.subarray(0, end).toString().split('\r\n').filter(Boolean);
    let status = 200;
    for (const header of headers) {
      const [name = '', value = ''] = header.split(/: ?(.*)/);
      if (name.toLowerCase() === 'status') status = Number.parseInt(value, 10);
      else response.setHeader(name, value);
    }
    response.writeHead(status).end(all.subarray(end + 4));
  });
}
