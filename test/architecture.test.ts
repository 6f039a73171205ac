// The rules of the rooms, each with its reason. Imports are read from the sources as they are.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

const root = path.dirname(import.meta.dirname);
const ROOMS = ['api', 'kinds', 'agent', 'controller', 'cli', 'scripts', 'test'];

interface Import {
  readonly from: string;
  /** A path below the root for our own files, else the specifier. */
  readonly to: string;
}

const files = ROOMS.flatMap((room) =>
  fs
    .readdirSync(path.join(root, room), { recursive: true, encoding: 'utf8' })
    .filter((f) => /\.(ts|mjs)$/.test(f))
    .map((f) => path.join(room, f)),
);
const imports: Import[] = files.flatMap((from) => {
  const text = fs.readFileSync(path.join(root, from), 'utf8');
  const specifiers = [
    ...text.matchAll(/^\s*(?:import|export)\b[^'";]*?\bfrom\s+'([^']+)'/gm),
    ...text.matchAll(/^\s*import\s+'([^']+)'/gm),
    ...text.matchAll(/\bimport\('([^']+)'\)/g),
  ];
  return (
    specifiers
      // Of node:net, telling addresses apart is no I/O.
      .filter((m) => !/^\s*import \{ (?:isIP|isIPv4|isIPv6|BlockList|, )+ \} from 'node:net'/.test(m[0]))
      .map((m) => ({
        from,
        to: m[1]!.startsWith('.') ? path.join(path.dirname(from), m[1]!) : m[1]!,
      }))
  );
});

function breaches(from: RegExp, to: RegExp, except?: RegExp): string[] {
  return imports
    .filter((i) => from.test(i.from) && to.test(i.to) && !(except?.test(i.from) ?? false))
    .map((i) => `${i.from} imports ${i.to}`);
}

const RULES: readonly { rule: string; reason: string; from: RegExp; to: RegExp; except?: RegExp }[] = [
  {
    rule: 'api imports only itself, zod and node:crypto',
    reason:
      'it is the contract between programs of different versions: no I/O, nothing that changes with a host',
    from: /^api\//,
    to: /^(?!api\/|zod$|node:crypto$)/,
  },
  {
    rule: 'kinds imports only api and kinds',
    reason:
      'a kind is run by the agent and asked by the controller; it reaches a host only through its ports',
    from: /^kinds\//,
    to: /^(agent|controller|cli|scripts|test)\//,
  },
  {
    rule: 'agent and controller never import each other',
    reason: 'they run on different hosts in different versions; what they share is api and kinds',
    from: /^agent\//,
    to: /^(controller|cli)\//,
  },
  {
    rule: 'controller never imports agent or cli',
    reason: 'they run on different hosts in different versions; what they share is api and kinds',
    from: /^controller\//,
    to: /^(agent|cli)\//,
  },
  {
    rule: 'only cli imports cli',
    reason: 'commands are the outermost layer',
    from: /^(?!cli\/|test\/|scripts\/)/,
    to: /^cli\//,
  },
  {
    rule: 'nothing imports test',
    reason: 'what ships must not need what tests it',
    from: /^(?!test\/|scripts\/)/,
    to: /^test\//,
  },
  {
    rule: 'in the agent only providers touch processes, D-Bus and sockets',
    reason: 'everything else is then testable without a host',
    from: /^agent\//,
    to: /^(node:child_process|node:net|node:dgram|execa|@jellybrick\/dbus-next|chokidar)$/,
    except: /^agent\/providers\//,
  },
  {
    rule: 'in the controller only source touches processes and sockets',
    reason: 'everything else is then testable without git',
    from: /^controller\//,
    to: /^(node:child_process|node:net|execa|undici|chokidar)$/,
    except: /^controller\/source\//,
  },
  {
    rule: 'the agent loads no fastify, git or sqlite, and YAML only late, for texts of other people that it edits',
    reason: 'its memory budget is won by what it does not load (docs/performance.md)',
    from: /^(agent|kinds|api)\//,
    to: /^(fastify|js-yaml|node:sqlite|diff|commander)$/,
    except: /^kinds\/shared\/yaml\.ts$/,
  },
];

for (const { rule, reason, from, to, except } of RULES) {
  test(rule, () => {
    assert.ok(
      files.some((f) => from.test(f)),
      'the rule is about files that do not exist',
    );
    assert.deepEqual(breaches(from, to, except), [], `breach of "${rule}", because ${reason}`);
  });
}

test('a kind never imports another kind, because kinds are added and removed one by one', () => {
  const kindOf = (f: string) => /^kinds\/(?!shared\/)([^/]+)\//.exec(f)?.[1];
  const wrong = imports.filter((i) => {
    const from = kindOf(i.from);
    const to = kindOf(i.to);
    return from !== undefined && to !== undefined && from !== to;
  });
  assert.deepEqual(wrong, []);
});

test('no file imports itself through others, types included: what is in a circle can only be read all at once', () => {
  const next = new Map<string, string[]>();
  for (const { from, to } of imports) next.set(from, [...(next.get(from) ?? []), to]);
  const circles: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, way: readonly string[]): void => {
    const at = way.indexOf(file);
    if (at >= 0) circles.push([...way.slice(at), file].join(' → '));
    if (at >= 0 || done.has(file)) return;
    for (const to of next.get(file) ?? []) visit(to, [...way, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
  assert.deepEqual(circles, []);
});

test('every kind is one folder of the same shape and one line in kinds/index.ts', () => {
  const registry = fs.readFileSync(path.join(root, 'kinds/index.ts'), 'utf8');
  const folders = fs
    .readdirSync(path.join(root, 'kinds'), { withFileTypes: true })
    .filter((e) => e.isDirectory() && e.name !== 'shared');
  for (const { name } of folders) {
    for (const file of ['index.ts', 'schema.ts', 'README.md']) {
      assert.ok(fs.existsSync(path.join(root, 'kinds', name, file)), `kinds/${name}/${file} is missing`);
    }
    assert.match(
      registry,
      new RegExp(`from '\\./${name}/index\\.ts'`),
      `kinds/${name} is not in the registry`,
    );
  }
});

test('only tests with recordings name the folder they are in, because a clone has none and must do without', () => {
  const tracked = execFileSync('git', ['ls-files'], { cwd: root, encoding: 'utf8' }).trim().split('\n');
  const allowed =
    /^test\/(?:architecture\.test\.ts|support\/(?:capabilities\.ts|alloy\/.*)|integration\/(?:cases\.test|inside\/cases)\.ts|unit\/support\/alloy-standin\.test\.ts)$/;
  const wrong = tracked
    .filter((file) => !allowed.test(file) && fs.existsSync(path.join(root, file)))
    .filter((file) =>
      /(?<![\w./])(?:\.\.\/)*shared\/(?:data|cases|findings\/|FACTS|DESIGN|SYSTEM)\b|\/work\/shared|'shared'/.test(
        fs.readFileSync(path.join(root, file), 'utf8'),
      ),
    );
  assert.deepEqual(wrong, []);
});

test('no text of zod or of JSON.parse reaches people: api/mistakes.ts has the words for both', () => {
  const wrong = files
    .filter((f) => !/^(?:test|scripts)\//.test(f))
    .filter((f) =>
      /\bz\.(?:prettify|format|flatten|treeify)Error\(/.test(fs.readFileSync(path.join(root, f), 'utf8')),
    );
  assert.deepEqual(wrong, []);
});

test('zod is imported as a namespace, because its object `z` brings 350 kB that nothing here uses into the agent', () => {
  const wrong = files.filter((f) =>
    /^import .*\{.*\} from 'zod';$/m.test(fs.readFileSync(path.join(root, f), 'utf8')),
  );
  assert.deepEqual(wrong, []);
});

test('only the rims read the clock, the environment or set timers, so that tests can do without them', () => {
  // controller/views holds text that runs in a browser.
  const rim =
    /^(kinds\/ports\.ts|agent\/main\.ts|agent\/providers\/|controller\/main\.ts|controller\/views\/|controller\/source\/|cli\/|scripts\/|test\/)/;
  const wrong = files
    .filter((f) => !rim.test(f))
    .flatMap((f) => {
      const text = fs.readFileSync(path.join(root, f), 'utf8').replace(/\/\/.*$/gm, '');
      return [
        ...text.matchAll(/\bDate\.now\(|(?<![.\w])setTimeout\(|(?<![.\w])setInterval\(|\bprocess\.env\b/g),
      ].map((m) => `${f}: ${m[0]}`);
    });
  assert.deepEqual(wrong, []);
});

test('YAML is read by import() in the agent, because it is loaded by those who edit texts and by nobody else', () => {
  const text = fs.readFileSync(path.join(root, 'kinds/shared/yaml.ts'), 'utf8');
  assert.doesNotMatch(text, /^import .* from 'js-yaml'/m);
});
