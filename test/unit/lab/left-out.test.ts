// A clone without the recordings: the lab says what it leaves out, and the manifests that it serves are valid.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { formatDiagnostic } from '../../../api/diagnostics.ts';
import { compile } from '../../../controller/pipeline/compile.ts';
import { readDirectory } from '../../../controller/source/directory.ts';
import { kinds } from '../../../kinds/index.ts';
import { withoutDownloaded } from '../../lab/grafana.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

const root = path.join(import.meta.dirname, '../../..');

test('the lab’s manifests without what is downloaded are valid, and keep our own dashboard', async (t) => {
  const directory = temporaryDirectory(t);
  fs.cpSync(path.join(root, 'manifests'), directory, { recursive: true });
  const file = path.join(directory, 'grafana/dashboards.yaml');
  fs.writeFileSync(file, withoutDownloaded(fs.readFileSync(file, 'utf8')));
  const { revision, diagnostics } = await compile(readDirectory(directory), kinds);
  assert.deepEqual(diagnostics.map(formatDiagnostic), []);
  const payload = revision!.hosts.get('mac-mini')!.payloadText;
  assert.match(payload, /"ollama-ocasia-001"/);
  assert.doesNotMatch(payload, /tailscale-mixin-over-k12e/);
});

test('a clone beside which there is nothing loads the lab, and says what it leaves out', (t) => {
  const clone = path.join(temporaryDirectory(t), 'clone');
  for (const room of ['api', 'agent', 'kinds', 'test']) {
    fs.cpSync(path.join(root, room), path.join(clone, room), { recursive: true });
  }
  fs.copyFileSync(path.join(root, 'package.json'), path.join(clone, 'package.json'));
  fs.symlinkSync(path.join(root, 'node_modules'), path.join(clone, 'node_modules'));
  const script = `
    import { fillDownloads, leftOut } from '${clone}/test/lab/grafana.ts';
    await fillDownloads({ exec: async () => {}, writeFile: () => { throw new Error('written') } }, '/x');
    console.log(leftOut);
    const { casesHold } = await import('${clone}/test/lab/cases.ts');
    console.log(await casesHold());`;
  const said = execFileSync(process.execPath, ['--input-type=module', '--eval', script], {
    encoding: 'utf8',
  });
  assert.match(said, /three of the four dashboards are left out: .*is absent; put the recordings there/);
  assert.match(said, /left out: cases that failed once: .*is absent; put the cases there\ntrue/);
});
