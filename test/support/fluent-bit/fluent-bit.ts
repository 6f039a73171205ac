/**
 * homeostat's stand-in for Fluent Bit, for tests: **it is not Fluent Bit**. The real one can't be had where homeostat is
 * developed; tests take it where FLUENT_BIT_BIN names it. This one knows the classic configuration
 * format, the systemd input, record_modifier's Allowlist_key and the loki output as their documentation has them
 * (docs.fluentbit.io), and refuses every section and key that it does not know, so that a typo in our config is found.
 *
 *   fluent-bit -c FILE [--dry-run]
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const KNOWN: Readonly<Record<string, readonly string[]>> = {
  SERVICE: ['flush', 'grace', 'log_level'],
  'INPUT systemd': ['name', 'tag', 'db', 'read_from_tail', 'lowercase', 'strip_underscores', 'mem_buf_limit'],
  'FILTER record_modifier': ['name', 'match', 'allowlist_key'],
  'OUTPUT loki': ['name', 'match', 'host', 'port', 'labels', 'line_format', 'drop_single_key', 'retry_limit'],
};
type Section = { readonly name: string; readonly values: Map<string, string> };

function fail(message: string): never {
  process.stderr.write(`[error] ${message} (homeostat's stand-in for Fluent Bit)\n`);
  process.exit(1);
}

/** Sections in brackets, then `Key value` lines that are indented. */
function parse(file: string): Section[] {
  const sections: Section[] = [];
  for (const [i, raw] of readFileSync(file, 'utf8').split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const head = /^\[([A-Z]+)\]$/.exec(line)?.[1];
    if (head !== undefined) sections.push({ name: head, values: new Map() });
    else {
      const [, key = '', value = ''] =
        /^(\S+)\s+(.*)$/.exec(line) ?? fail(`${file}:${i + 1}: a key needs a value`);
      if (!/^\s/.test(raw)) fail(`${file}:${i + 1}: a key of a section must be indented`);
      (sections.at(-1) ?? fail(`${file}:${i + 1}: no section`)).values.set(key.toLowerCase(), value);
    }
  }
  for (const { name, values } of sections) {
    const kind = name === 'SERVICE' ? name : `${name} ${values.get('name')}`;
    const known = KNOWN[kind] ?? fail(`${file}: [${kind}] is not modelled`);
    for (const key of values.keys()) if (!known.includes(key)) fail(`${file}: [${kind}] has no key ${key}`);
  }
  return sections;
}

const args = process.argv.slice(2);
const config = args[args.indexOf('-c') + 1] ?? fail('say -c FILE');
const sections = parse(config);
const only = (name: string): Map<string, string> =>
  sections.find((section) => section.name === name)?.values ?? fail(`there is no [${name}]`);
const [input, filter, output] = [only('INPUT'), only('FILTER'), only('OUTPUT')];
if (args.includes('--dry-run')) {
  process.stdout.write('configuration test is successful\n');
  process.exit(0);
}

const labels = Object.fromEntries(
  (output.get('labels') ?? '').split(',').map((pair) => pair.trim().split('=')),
);
const url = `http://${output.get('host')}:${output.get('port')}/loki/api/v1/push`;
const kept = filter.get('allowlist_key') ?? '';

function record(entry: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const plain = (key: string): string => {
    const bare = input.get('strip_underscores') === 'On' ? key.replace(/^_+/, '') : key;
    return input.get('lowercase') === 'On' ? bare.toLowerCase() : bare;
  };
  return Object.fromEntries(Object.entries(entry).map(([key, value]) => [plain(key), value]));
}

async function push(entry: Readonly<Record<string, unknown>>): Promise<void> {
  const value = record(entry)[kept];
  if (value === undefined) return;
  const line = output.get('drop_single_key') === 'raw' ? String(value) : JSON.stringify({ [kept]: value });
  const at = `${String(entry['__REALTIME_TIMESTAMP'])}000`;
  const body = JSON.stringify({ streams: [{ stream: labels, values: [[at, line]] }] });
  // Retry_Limit no_limits: a line waits until it is taken.
  for (;;) {
    const taken = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    }).then(
      ({ ok }) => ok,
      () => false,
    );
    if (taken) return;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

const journal = spawn('journalctl', ['--follow', '--lines=0', '--output=json'], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
journal.on('exit', () => fail('journalctl ended'));
process.on('SIGTERM', () => {
  journal.removeAllListeners('exit');
  journal.kill();
  process.exit(0);
});
process.stdout.write(`stand-in for Fluent Bit (not Fluent Bit) follows the journal → ${url}\n`);
let last: Promise<void> = Promise.resolve();
for await (const line of createInterface({ input: journal.stdout })) {
  const entry = JSON.parse(line) as Record<string, unknown>;
  last = last.then(() => push(entry));
}
