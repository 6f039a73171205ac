// What people get wrong on the command line, and what they are told: a sentence that says what is wrong, where, and
// what would be right; never the text of a library, an errno alone or a stack; and an exit code that is documented.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { EXIT_CODES, GROUP_EXIT_CODES } from '../../cli/exit-codes.ts';
import type { Ran } from '../support/cli-process.ts';
import { cliRuns } from '../support/cli-runs.ts';
import { homeostatIn } from '../support/homeostat.ts';
import { temporaryDirectory } from '../support/sandbox.ts';

const run = cliRuns();
const RAW =
  /ZodError|✖|\bat .*\.ts:\d+|E[A-Z]{4,}:|Invalid URL|Invalid input|Unexpected token|is not valid JSON|defect in homeostat|\[object |undefined|NaN/;

function isSaidInWords(args: readonly string[], { status, stdout, stderr }: Ran): void {
  const what = `homeostat ${args.map((arg) => JSON.stringify(arg)).join(' ')}\n${stdout}${stderr}`;
  assert.doesNotMatch(stdout + stderr, RAW, what);
  const words = args.findIndex((arg) => arg.startsWith('-'));
  const path = args.slice(0, words < 0 ? 2 : Math.min(words, 2));
  const known = [path.join(' '), path[0] ?? ''].find((words) => Object.hasOwn(EXIT_CODES, words));
  const codes = known === undefined ? GROUP_EXIT_CODES : EXIT_CODES[known]!;
  assert.ok(status in codes, `exit code ${status} is not documented: ${what}`);
  if (status === 1) assert.match(stderr, /^homeostat: \S|refused: /m, what);
}

/** A directory with one of each thing that somebody could name by mistake. */
function place(t: TestContext): string {
  const directory = temporaryDirectory(t);
  const write = (name: string, text: string) => fs.writeFileSync(path.join(directory, name), text);
  fs.mkdirSync(path.join(directory, 'empty'));
  write('file', 'x\n');
  write('not.json', '{"host": "pi",}');
  write('controller.json', '{"host": "pi", "controller": {"url": "http://127.0.0.1:1"}}');
  write('fields.json', '{"hots": "pi", "allow": {"path": ["/"]}, "resyncSeconds": -1}');
  write('relative.json', '{"host": "pi", "stateDir": "state"}');
  fs.symlinkSync('loop', path.join(directory, 'loop'));
  return directory;
}

const TOKEN = `hs1_00000000.${'a'.repeat(32)}.${'0'.repeat(32)}`;

/** The command line, and what is said of it. */
const TABLE: readonly (readonly [line: string, says: RegExp])[] = [
  ["init m --host 'Foo Bar'", /--host.*'Foo Bar' is invalid\. A name has lower-case letters/],
  ['init file', /It is a file: name a directory/],
  ['init file/m', /file is a file, and nothing can be below it/],
  ['get hosts -o xml', /Write table, wide, json or yaml/],
  ['describe host pi -o wide', /Write text, json or yaml/],
  ['token list -o xml', /Write table, wide, json or yaml/],
  ['render pi -o foo', /Write yaml or json/],
  ['status -o table2', /Write table, wide, json or yaml/],
  [
    `enroll --controller 127.0.0.1:8420 --token ${TOKEN}`,
    /Write http:\/\/ before it: http:\/\/127\.0\.0\.1:8420/,
  ],
  ['get hosts --controller mac-mini:8420', /Write http:\/\/ before it: http:\/\/mac-mini:8420/],
  ['describe host pi --controller ftp://x', /begins with http:\/\/ or https:\/\//],
  ['import grafana-dashboard --uid x --url localhost:3000', /Write http:\/\/ before it/],
  ['import tailnet-policy --run-on pi --api api.tailscale.com', /Write http:\/\/ before it/],
  ['once --timeout abc', /a number of seconds from 0\.1 to 86400/],
  ['once --timeout 0', /a number of seconds/],
  ['controller --repo r --poll soon', /a number of seconds/],
  ['suspend --for 0s', /1s is the least/],
  ['suspend --for 999999d', /30d is the most/],
  ['token create --host pi --ttl 1w', /A duration is a number with s, m, h or d/],
  ['suspend motd', /A resource is Kind\/name, as File\/motd/],
  ['controller --repo r --listen 8420', /Write address:port/],
  ['controller --repo r --listen 127.0.0.1:99999', /Write address:port/],
  ['controller --repo=--upload-pack=x', /Write a path, or a URL that git knows/],
  ['controller --repo r --branch -x', /Write the name of a branch/],
  ['controller --repo r --subdir ../x', /Write a path within the repository/],
  ['controller --repo r --mirror x', /a mirror is ORIGIN=BASE/],
  ['controller --repo r --hook-secret-file none', /There is no such file/],
  ['controller --repo r --state file', /It is a file: name a directory/],
  ['get hosts --token-file none', /There is no such file/],
  ['get hosts --token-file empty', /It is a directory: name the file/],
  ['get hosts --token-file file', /what file says is no token/],
  ['get hosts --token secret', /what --token or HOMEOSTAT_TOKEN says is no token/],
  ['enroll --controller http://127.0.0.1:1 --token-file file', /what file says is no token/],
  [
    'get hosts --controller http://127.0.0.1:1',
    /can't be reached: 127\.0\.0\.1:1: nothing listens there.*--controller says/,
  ],
  [
    `enroll --controller http://127.0.0.1:1 --token ${TOKEN} --config new.json --state new`,
    /can't be reached: .*nothing listens/,
  ],
  ['validate none', /There is no directory none/],
  ['validate file', /file is not a directory/],
  ['validate loop', /symbolic link/],
  ['render pi --dir none', /There is no directory none/],
  ['plan --dir none', /There is no directory none/],
  ['once --dir file', /file is not a directory/],
  ['secret rekey --dir none', /There is no directory none/],
  ['plan --dir empty --config none.json', /none\.json can't be read: .*no such file.*homeostat enroll/s],
  ...['agent', 'status', 'reconcile', 'suspend', 'resume', 'plan --running'].flatMap(
    (command): (readonly [string, RegExp])[] => {
      // plan --running reads no configuration when it is told the socket.
      return [
        [`${command} --config none.json`, /configuration none\.json can't be read: .*no such file/],
        [`${command} --config file/x`, /file is a file, and nothing can be below it/],
        [`${command} --config empty`, /It is a directory: name a file/],
        [`${command} --config loop`, /symbolic link/],
        [`${command} --config not.json`, /not\.json is not JSON: line 1, column 15: expected double-quoted/],
        [`${command} --config file`, /file is not JSON: line 1, column 1: "x" is not expected here/],
        [
          `${command} --config controller.json`,
          /field controller: it is an object: write the controller’s URL as text, with http/,
        ],
        [
          `${command} --config fields.json`,
          /field host: it is missing.*no field "hots": did you mean "host"\?/s,
        ],
        [`${command} --config fields.json`, /field allow: there is no field "path": did you mean "paths"\?/],
        [`${command} --config relative.json`, /field stateDir: it is "state"/],
      ];
    },
  ),
  ...['status', 'reconcile', 'suspend', 'resume', 'plan --running'].flatMap(
    (command): (readonly [string, RegExp])[] => [
      [`${command} --socket none.sock`, /no agent answers on none\.sock; is it running\?/],
      [`${command} --socket file`, /It is not a socket/],
      [`${command} --socket empty`, /It is not a socket/],
      [`${command} --socket file/x`, /nothing can be below it/],
    ],
  ),
  ['secret keygen --out empty', /It is a directory/],
  ['secret encrypt --out s.age --in none', /There is no such file/],
  ['secret encrypt --out s.age --in empty', /It is a directory/],
  ['secret keygen', /required option '--out <file>' not specified/],
  ['keygen --state file', /It is a file/],
  ['token create --state new', /say --host NAME or --operator NAME/],
  ["token create --operator ''", /It is empty/],
  ['token revoke nonsense', /An id has 8 hexadecimal digits/],
  ['convert promtail none', /There is no such file/],
  ['convert promtail file --alloy ./none', /there is no program \.\/none/],
  ['convert promtail file --alloy ./empty', /\.\/empty can't be run: .*permission denied/],
  ['convert promtail file --host Pi', /A name has lower-case letters/],
  ['import host --unit /etc', /Write the name of a unit/],
  ['import host --docker nonsense', /Write unix:\/\/\/path of its socket/],
  ['import host --root none', /There is no directory none/],
  ['import grafana-dashboard --uid a/b', /A uid has letters/],
  ['import tailnet-policy --run-on PI', /A name has lower-case letters/],
  ['validate --nonsense', /unknown option '--nonsense'/],
  ['validate a b c', /too many arguments|There is no directory a/],
  ['render', /missing required argument 'host'/],
];

/** As a shell would, for what the table has. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');
}

for (const [line, says] of TABLE) {
  test(`homeostat ${line}`, async (t) => {
    const args = wordsOf(line);
    const ran = await run(place(t), args);
    assert.equal(ran.status, 1, ran.stdout + ran.stderr);
    assert.match(ran.stderr, says);
    isSaidInWords(args, ran);
  });
}

test('an unknown command is 2, and the nearest is suggested', async (t) => {
  const here = place(t);
  for (const [line, says] of [
    ['plna', /there is no command `homeostat plna`: did you mean plan\?/],
    ['plna --help', /did you mean plan\?/],
    ['token lst', /there is no command `homeostat token lst`: did you mean list\?/],
    ['help tokn', /did you mean token\?/],
    ['help token lst', /did you mean list\?/],
    ['qqqqqqqq', /there are .*agent, controller/],
    ['--nonsense', /unknown option '--nonsense'/],
    ['get --nonsense', /unknown option '--nonsense'/],
  ] as const) {
    const ran = await run(here, line.split(' '));
    assert.equal(ran.status, 2, line);
    assert.match(ran.stderr, says);
    assert.equal(ran.stdout, '', line);
  }
});

test('help is on standard output with 0, however it is asked for; so is the version', async (t) => {
  const here = place(t);
  for (const line of [
    '',
    '--help',
    '-h',
    'help',
    'token',
    'token --help',
    'help token create',
    'secret help edit',
    'plan -h',
  ]) {
    const ran = await run(here, wordsOf(line));
    assert.equal(ran.status, 0, line);
    assert.match(ran.stdout, /^Usage: homeostat[\s\S]*Exit codes:/, line);
    assert.equal(ran.stderr, '', line);
  }
  for (const line of ['version', '--version', '-V']) {
    const ran = await run(here, [line]);
    assert.deepEqual([ran.status, ran.stderr], [0, ''], line);
    assert.match(ran.stdout, /^\d+\.\d+\.\d+\n$/);
  }
});

test('what answers and is no controller, or no agent, is said to be none', async (t) => {
  const here = place(t);
  const answers = ['nonsense', '{}', '{"hosts":[{}]}', '[]', 'null', '<html>', '{"error":{}}'];
  for (const [status, body] of [
    ...answers.map((a) => [200, a] as const),
    [404, 'not found'],
    [500, '{"a":1}'],
  ] as const) {
    const server = http.createServer((_, response) => response.writeHead(status).end(body));
    const tcp = await listening(t, server, { host: '127.0.0.1', port: 0 });
    const url = `http://127.0.0.1:${tcp}`;
    const unix = http.createServer((_, response) => response.writeHead(status).end(body));
    const socket = path.join(here, `s${Math.random().toString(36).slice(2, 8)}`);
    await listening(t, unix, { path: socket });
    for (const args of [
      ['get', 'hosts', '--controller', url],
      ['describe', 'host', 'pi', '--controller', url],
      ['enroll', '--controller', url, '--token', TOKEN, '--config', 'new.json', '--state', 'new'],
      ['status', '--socket', socket],
      ['plan', '--running', '--socket', socket],
    ]) {
      const ran = await run(here, args);
      if (body === '[]' && args[0] === 'plan') continue; // nothing to plan is an answer
      assert.equal(ran.status, 1, `${args.join(' ')} of ${body}: ${ran.stdout}`);
      assert.match(
        ran.stderr,
        /no controller|not as a controller does|is no homeostat agent/,
        `${args[0]} of ${body}`,
      );
      isSaidInWords(args, ran);
    }
  }
});

async function listening(t: TestContext, server: net.Server, where: net.ListenOptions): Promise<number> {
  server.listen(where);
  await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

test('a taken port is said to be taken, and whoever could not start ends', async (t) => {
  const here = place(t);
  const homeostat = homeostatIn(here);
  const port = await listening(t, net.createServer(), { host: '127.0.0.1', port: 0 });
  fs.mkdirSync(path.join(here, 'repo'));
  const config = (fields: object) =>
    fs.writeFileSync(
      path.join(here, 'agent.json'),
      JSON.stringify({
        host: 'pi',
        stateDir: `${here}/state`,
        socket: `${here}/a.sock`,
        listen: '127.0.0.1:0',
        ...fields,
      }),
    );
  const controller = ['controller', '--repo', 'repo', '--state', 'cs', '--listen', `127.0.0.1:${port}`];
  for (const [args, fields, says] of [
    [controller, {}, /another program listens there/],
    [['agent', '--config', 'agent.json'], { listen: `127.0.0.1:${port}` }, /another program listens there/],
    [
      ['agent', '--config', 'agent.json'],
      { listen: '127.0.0.1:99999' },
      /field listen: .*write address:port/,
    ],
    // It had begun to serve before it failed, and stayed for ever.
    [
      ['agent', '--config', 'agent.json'],
      { stateDir: `${here}/file` },
      /something of that name is there already/,
    ],
    [['agent', '--config', 'agent.json'], { socket: `${here}/file/a.sock` }, /file/],
  ] as const) {
    config(fields);
    const ran = await homeostat([...args]);
    assert.equal(ran.status, 1, `${args[0]}: ${ran.stdout}${ran.stderr}`);
    assert.match(ran.stderr, says);
    isSaidInWords(args, ran);
  }
});

/** So that nothing begins that would not end by itself, or that would be outside of the test's directory. */
const SPOILT: Readonly<Record<string, readonly string[]>> = {
  agent: ['--config', 'fields.json'],
  controller: ['--state', 'file'],
  once: ['--root', 'file'],
  'import host': ['--out', 'file'],
  'token create': ['--state', 'new'],
  'token list': ['--state', 'new'],
  'token revoke': ['--state', 'new'],
  keygen: ['--state', 'new'],
};
const FLAGS =
  '--host --config --socket --state --dir --root --timeout --running -o --output --controller --token --token-file --for --reason --ttl --operator --out --in --hosts --identity --uid --run-on --url --json --print --next --promote --repo --listen --poll --mirror --name --alloy --unit --help --nonsense'.split(
    ' ',
  );
const VALUES = [
  ...[
    'file',
    'empty',
    'none',
    'loop',
    'file/x',
    'not.json',
    'fields.json',
    'controller.json',
    'new/deep',
    '.',
    '-',
  ],
  ...[
    'pi',
    'Foo Bar',
    'File/motd',
    'json',
    'yaml',
    'wide',
    '1h',
    '0s',
    '10',
    '-1',

    '1e9',
    'constructor',
  ],
  ...[
    '127.0.0.1:8420',
    'http://127.0.0.1:1',
    'http://',
    'https://[',
    '[::1]:1',
    TOKEN,
    'a\nb',
    '😀',
    'x'.repeat(300),
  ],
];

test('whatever is typed, the answer is in words, and the exit code one that is documented', async (t) => {
  const here = place(t);
  const nonsense = fc.string({ maxLength: 12 }).filter((text) => !/^[/~]|\.\./.test(text));
  const word = fc.oneof(fc.constantFrom(...FLAGS), fc.constantFrom(...VALUES), nonsense);
  const commands = [...Object.keys(EXIT_CODES), 'get', 'token', 'help', ''];
  const line = fc.tuple(fc.constantFrom(...commands), fc.array(word, { maxLength: 6 }));
  await fc.assert(
    fc.asyncProperty(line, async ([command, words]) => {
      const args = [...wordsOf(command), ...words, ...(SPOILT[command] ?? [])];
      isSaidInWords(args, await run(here, args));
    }),
    { numRuns: 300 },
  );
});
