// Every command, walked: each says its exit codes, each value is checked when the command line is parsed, each -o
// refuses what it does not know.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import { before, test } from 'node:test';
import { type Command, InvalidArgumentError } from 'commander';
import { loadProgram } from '../../../cli/commands.ts';
import { EXIT_CODES, exitCodesOf } from '../../../cli/exit-codes.ts';
import { complete, isGroup } from '../../../cli/program.ts';

interface Walked {
  readonly path: string;
  readonly command: Command;
}

let all: Walked[] = [];
before(async () => {
  const program = await loadProgram();
  complete(program, '');
  const walk = (command: Command, path: string): Walked[] => [
    { path, command },
    ...command.commands.flatMap((sub) => walk(sub, `${path} ${sub.name()}`.trim())),
  ];
  all = walk(program, '');
});

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text;
}

test('help of every command, subcommands included, states its exit codes', () => {
  assert.ok(all.length > 35);
  for (const { path, command } of all) {
    const help = helpOf(command);
    for (const [code, meaning] of Object.entries(exitCodesOf(path, isGroup(command)))) {
      assert.ok(help.includes(`  ${code.padEnd(3)} ${meaning}`), `homeostat ${path} --help: ${help}`);
    }
    assert.equal(help.match(/Exit codes:/g)?.length, 1, path);
    assert.doesNotMatch(help, /exit 0:|Exit codes: 0/, path);
  }
});

test('the table of exit codes names commands that are there, and no others', () => {
  const leaves = all.filter(({ path, command }) => !isGroup(command) && !/(^| )help$/.test(path));
  assert.deepEqual(leaves.map(({ path }) => path).sort(), Object.keys(EXIT_CODES).sort());
});

test('2 is an answer, or says that there is no such command; 1 is every other error', () => {
  for (const [path, codes] of Object.entries(EXIT_CODES)) {
    assert.match(codes[1]!, /^the command line is wrong/, path);
    if (codes[2] !== undefined)
      assert.ok(['plan', 'once', 'status', 'allow', 'convert promtail'].includes(path), path);
  }
});

test('every option and argument that takes a value has it checked when it is parsed', () => {
  for (const { path, command } of all) {
    for (const option of command.options) {
      const takesValue = option.required || option.optional;
      assert.ok(!takesValue || option.parseArg !== undefined, `homeostat ${path} ${option.flags}`);
    }
    for (const argument of command.registeredArguments) {
      assert.ok(argument.parseArg !== undefined, `homeostat ${path} <${argument.name()}>`);
    }
  }
});

test('nothing takes an empty value, and what is refused is said in a sentence', () => {
  for (const { path, command } of all) {
    for (const { flags, parseArg } of command.options) {
      if (parseArg === undefined) continue;
      assert.throws(() => parseArg('', undefined), sentence, `homeostat ${path} ${flags}`);
      assert.throws(() => parseArg('a\0b', undefined), sentence, `homeostat ${path} ${flags}`);
    }
  }
});

function sentence(error: Error): boolean {
  if (error instanceof InvalidArgumentError) return /^[A-Z0-9].*[.\w/]$/s.test(error.message);
  return error.constructor === Error && error.message !== '';
}

test('every -o refuses a format that it does not know, and every list has json, yaml and wide', () => {
  const formats = all.flatMap(({ path, command }) =>
    command.options
      .filter(({ long }) => long === '--output')
      .map(({ parseArg }) => ({ path, parse: parseArg! })),
  );
  assert.ok(formats.length >= 5);
  for (const { path, parse } of formats) {
    for (const wrong of ['xml', 'JSON', '', 'json,yaml', 'toString']) {
      assert.throws(() => parse(wrong, undefined), /json/, `${path} -o ${wrong}`);
    }
    for (const right of ['json', 'yaml']) assert.equal(parse(right, undefined), right, path);
    if (/^(get|token list|status)/.test(path)) assert.equal(parse('wide', undefined), 'wide', path);
  }
});

test('help is the same on every machine: it names neither this host nor this user', () => {
  for (const { path, command } of all) {
    const help = helpOf(command);
    assert.ok(!help.includes(`"${os.hostname().toLowerCase()}"`), path);
    assert.ok(os.homedir().length < 2 || !help.includes(`"${os.homedir()}`), path);
  }
});

test('options of the same name are checked alike in every command', () => {
  const seen = new Map<string, string>();
  const values = [
    '',
    'Foo Bar',
    '127.0.0.1:8420',
    'http://127.0.0.1:8420',
    'x'.repeat(5000),
    '-1',
    '30m',
    fs.realpathSync('.'),
  ];
  const differ = new Set(['--state', '--out', '--name', '--host', '--root', '--dir', '--config', '--repo']);
  for (const { path, command } of all) {
    for (const { long, parseArg } of command.options) {
      if (parseArg === undefined || long === undefined || differ.has(long) || long === '--output') continue;
      const verdicts = values.map((value) => accepts(() => parseArg(value, undefined))).join('');
      const before = seen.get(long) ?? verdicts;
      assert.equal(verdicts, before, `homeostat ${path} ${long}`);
      seen.set(long, verdicts);
    }
  }
});

function accepts(parse: () => unknown): 'y' | 'n' {
  try {
    parse();
    return 'y';
  } catch {
    return 'n';
  }
}
