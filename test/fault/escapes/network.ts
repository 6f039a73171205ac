// Ways to have the agent ask, probe or post where its owner did not let it, and to have it stopped by an answer.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { StandInGrafana } from '../../support/grafana/grafana.ts';
import { resource } from '../../support/manifest.ts';
import type { Allow, Escape, Stage } from './stage.ts';
import type { Way } from './ways.ts';

/** The address at which clouds tell a host its credentials. */
const METADATA = '169.254.169.254';

interface Served {
  readonly port: number;
  /** Connections that came, with a request or without. */
  count(): number;
}

async function serve(
  s: Stage,
  body: string,
  { address = '127.0.0.1', headers = {}, status = 200 } = {},
): Promise<Served> {
  let count = 0;
  const server = http.createServer((_, response) => response.writeHead(status, headers).end(body));
  server.on('connection', () => {
    count += 1;
  });
  server.listen(0, address);
  await once(server, 'listening');
  s.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, count: () => count };
}

const check = (spec: object) => resource('Check', 'c', { interval: '1s', ...spec });

interface Servers {
  readonly granted: Served;
  readonly other: Served;
}

/** @param evil asks what nobody granted; `other` must not even have been connected to. */
const asks = (
  name: string,
  evil: (servers: Servers, s: Stage) => object,
  more: { allow?: (servers: Servers) => Allow; address?: string; refusal?: readonly string[] } = {},
): Way => ({
  name,
  twin: 'Check',
  async escape(s) {
    if (more.address === METADATA) await s.sh(`ip address replace ${METADATA}/32 dev lo`);
    const servers: Servers = {
      granted: await serve(s, 'all is well\n'),
      other: await serve(s, `${s.canary}\n`, { address: more.address ?? '127.0.0.1' }),
    };
    const url = `http://127.0.0.1:${servers.granted.port}`;
    return {
      allow: { kinds: ['Check'], urls: [url], ...more.allow?.(servers) },
      honest: {
        resources: [check({ http: { url: `${url}/`, contains: 'well' } })],
        works: () => assert.ok(servers.granted.count() > 0, 'nothing was asked'),
      },
      evil: {
        resources: [check(evil(servers, s))],
        safe: () => assert.equal(servers.other.count(), 0, 'somebody was connected to'),
        ...(more.refusal === undefined ? {} : { refusal: more.refusal }),
      },
    };
  },
});

/** A redirect, and what it leads to. */
const redirected: Way = {
  name: 'a redirect to what is not granted',
  twin: 'Check',
  async escape(s) {
    const other = await serve(s, s.canary);
    const location = `http://127.0.0.1:${other.port}/`;
    const granted = await serve(s, 'moved', { status: 302, headers: { location } });
    const url = `http://127.0.0.1:${granted.port}`;
    return {
      allow: { kinds: ['Check'], urls: [url] },
      honest: {
        resources: [check({ http: { url, status: 302 } })],
        works: () => assert.ok(granted.count() > 0),
      },
      evil: {
        resources: [check({ http: { url, contains: 'canary' } })],
        safe: () => assert.equal(other.count(), 0, 'it followed the redirect'),
        refusal: ['CheckFailed'],
      },
    };
  },
};

/** A regular expression that takes for ever, and whether something else is still kept meanwhile. */
const bomb = (name: string, pattern: string, body: string): Way => ({
  name,
  twin: 'Check',
  async escape(s) {
    const { port } = await serve(s, body);
    const url = `http://127.0.0.1:${port}`;
    const file = resource('File', 'f', { path: s.at('f'), content: 'kept\n' });
    return {
      allow: { kinds: ['Check', 'File'], urls: [url], paths: [s.at('f')] },
      honest: {
        resources: [check({ http: { url, matches: 'a' } }), file],
        works: () => assert.ok(fs.existsSync(s.at('f'))),
      },
      evil: {
        resources: [check({ http: { url, matches: pattern } }), file],
        safe: () => assert.equal(fs.readFileSync(s.at('f'), 'utf8'), 'kept\n'),
        refusal: ['CheckFailed', 'Invalid', 'Unsupported', 'NotAllowed', 'Degraded'],
      },
    };
  },
});

/** A kind that speaks to an API at an address that a manifest chooses. */
interface Spoken {
  readonly allow: Allow;
  readonly honest: Escape['honest'];
  readonly resources: Escape['evil']['resources'];
}

const speaks = (
  name: string,
  twin: string,
  make: (s: Stage, port: number) => Spoken | Promise<Spoken>,
  more: Partial<Escape['evil']> = {},
): Way => ({
  name,
  twin,
  async escape(s) {
    const other = await serve(s, `${s.canary}\n`);
    const { resources, ...rest } = await make(s, other.port);
    return {
      ...rest,
      evil: { resources, safe: () => assert.equal(other.count(), 0, 'somebody was connected to'), ...more },
    };
  },
});

const nothing: Escape['honest'] = { resources: [], works: () => undefined };
const TOKEN = 'grafana-token';

export const networkWays: readonly Way[] = [
  asks('an answer shown by a Check', ({ other }) => ({
    http: { url: `http://127.0.0.1:${other.port}/`, contains: 'no' },
  })),
  asks('a probe by HEAD', ({ other }) => ({
    http: { url: `http://127.0.0.1:${other.port}/`, method: 'HEAD' },
  })),
  asks('a probe by tcp', ({ other }) => ({ tcp: { address: `127.0.0.1:${other.port}` } })),
  asks('a probe by tcp, by name', ({ other }) => ({ tcp: { address: `localhost:${other.port}` } })),
  asks('an answer shown by promql', ({ other }) => ({
    promql: { url: `http://127.0.0.1:${other.port}`, query: 'up' },
  })),
  asks('an answer shown by logql', ({ other }) => ({
    logql: { url: `http://127.0.0.1:${other.port}`, query: 'x' },
  })),
  asks(
    'a cloud’s credentials',
    ({ other }) => ({ http: { url: `http://${METADATA}:${other.port}/latest/meta-data/`, contains: 'no' } }),
    { address: METADATA },
  ),
  ...(
    [
      ['localhost', 'localhost'],
      ['a number', '2130706433'],
      ['hexadecimal', '0x7f000001'],
      ['mapped IPv6', '[::ffff:127.0.0.1]'],
      ['no address', '0'],
    ] as const
  ).map(([spelled, host]) =>
    asks(`another port of loopback, spelled as ${spelled}`, ({ other }) => ({
      http: { url: `http://${host}:${other.port}/`, contains: 'no' },
    })),
  ),
  asks('a granted origin as a user’s name', ({ granted, other }) => ({
    http: { url: `http://127.0.0.1:${granted.port}@127.0.0.1:${other.port}/`, contains: 'no' },
  })),
  asks(
    'what a pattern of hosts seems to grant',
    ({ other }) => ({ http: { url: `http://127.0.0.1:${other.port}/`, contains: 'no' } }),
    {
      allow: ({ granted }) => ({
        urls: [`http://127.0.0.1:${granted.port}`, 'http://127.0.0.1:9*.example.org'],
      }),
    },
  ),
  asks(
    'a header that ends the request',
    ({ granted }) => ({
      http: { url: `http://127.0.0.1:${granted.port}/`, headers: { A: `x\r\nHost: other` } },
    }),
    {
      refusal: [
        'CheckFailed',
        'NotAllowed',
        'Unsupported',
        'Error',
        'ERR_INVALID_CHAR',
        'UND_ERR_INVALID_ARG',
      ],
    },
  ),
  redirected,
  bomb('a regular expression that takes for ever', '^(a+)+$', `${'a'.repeat(4000)}!\n`),
  bomb(
    'a regular expression that takes for ever, on many lines',
    '(x+x+)+y',
    `${'x'.repeat(200)}\n`.repeat(2000),
  ),
  bomb('a regular expression with a back reference', '(.*)\\1\\1\\1z', 'b'.repeat(200_000)),
  speaks('a token sent to another Grafana', 'GrafanaDatasource', async (s, port) => {
    const grafana = new StandInGrafana('apis');
    await grafana.start(0);
    s.after(() => grafana.stop());
    s.write(s.at(TOKEN), `${grafana.token}\n`);
    const source = await serve(s, '{"status":"success","data":{}}');
    const url = `http://127.0.0.1:${source.port}`;
    const at = (server: string) =>
      resource('GrafanaDatasource', 'd', {
        grafana: { url: server, token: { secretFrom: { file: s.at(TOKEN) } } },
        ...{ uid: 'x', name: 'x', type: 'prometheus', url },
      });
    return {
      allow: { kinds: ['GrafanaDatasource'], urls: [grafana.url, url], secrets: [s.at(TOKEN)] },
      honest: { resources: [at(grafana.url)], works: () => assert.ok(source.count() > 0, 'it is not asked') },
      resources: [at(`http://127.0.0.1:${port}`)],
    };
  }),
  speaks('a reload posted to another program, by AlloyConfig', 'AlloyConfig', async (s, port) => {
    s.program(s.at('alloy'), 'exit 0');
    const granted = await serve(s, 'config reloaded');
    const spec = { path: s.at('config.alloy'), content: '// a\n', binary: s.at('alloy'), manager: 'none' };
    const at = (address: number) =>
      resource('AlloyConfig', 'a', { ...spec, address: `127.0.0.1:${address}` });
    return {
      allow: {
        kinds: ['AlloyConfig'],
        paths: [s.at('config.alloy')],
        exec: [s.at('alloy')],
        urls: [`http://127.0.0.1:${granted.port}`],
      },
      honest: {
        resources: [at(granted.port)],
        works: () => assert.equal(fs.readFileSync(s.at('config.alloy'), 'utf8'), '// a\n'),
      },
      resources: [at(port)],
    };
  }),
  speaks('a reload posted to another program, by PrometheusConfig', 'PrometheusConfig', (s, port) => {
    s.program(s.at('promtool'), 'exit 0');
    s.write(s.at('prometheus.yml'), 'scrape_configs: []\n');
    const spec = { path: s.at('prometheus.yml'), form: 'block', promtool: s.at('promtool') };
    const scrapeConfigs = { content: '- job_name: a\n' };
    return {
      allow: {
        kinds: ['PrometheusConfig'],
        paths: [s.at('prometheus.yml')],
        exec: [s.at('promtool')],
        urls: ['http://127.0.0.1:9090'],
      },
      honest: nothing,
      resources: [
        resource('PrometheusConfig', 'p', { ...spec, scrapeConfigs, address: `127.0.0.1:${port}` }),
      ],
    };
  }),
  speaks('a key fetched from another server, by AptRepository', 'AptRepository', (s, port) => ({
    allow: {
      kinds: ['AptRepository'],
      paths: [`/etc/apt/sources.list.d/${s.id}.sources`, `/etc/apt/keyrings/${s.id}.gpg`],
      packages: ['repository:http://127.0.0.1:1'],
      rootEquivalent: ['repository:http://127.0.0.1:1'],
      exec: ['apt-get'],
      urls: ['http://127.0.0.1:1'],
    },
    honest: nothing,
    resources: [
      resource('AptRepository', 'r', {
        name: s.id,
        uris: ['http://127.0.0.1:1'],
        suites: ['stable'],
        components: ['main'],
        key: { url: `http://127.0.0.1:${port}/key.asc`, fingerprint: 'A'.repeat(40) },
      }),
    ],
  })),
];
