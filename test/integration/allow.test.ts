// `homeostat allow --from-plan`: what a host's owner reads and pastes, with a controller and without one.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { agentFiles } from '../bench/agents.ts';
import { homeostatIn } from '../support/homeostat.ts';
import { resource } from '../support/manifest.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { treeText } from '../support/tree.ts';

/** The state directory of an agent with a manifest from its controller. */
function agentWith(t: TestContext, allow: object) {
  const directory = temporaryDirectory(t);
  const at = (name: string): string => path.join(directory, name);
  for (const name of ['root', 'state']) fs.mkdirSync(at(name));
  const files = agentFiles(
    [
      resource('File', 'motd', { path: '/etc/motd', content: 'hello\n' }),
      resource('File', 'tool', { path: '/usr/local/bin/tool', content: 'x', mode: '4755' }),
      resource('File', 'own', { path: '/state/agent.key', content: 'x' }),
      resource('File', 'secret', { path: '/etc/s', content: { secretFrom: { file: at('none') } } }),
    ],
    { root: directory, stateDir: at('state'), socket: at('agent.sock'), allow },
  );
  fs.writeFileSync(at('agent.json'), files['agent.json']);
  fs.writeFileSync(at('state/bundle.json'), files['bundle.json']);
  const homeostat = homeostatIn(directory);
  return { directory, at, allow: (...args: string[]) => homeostat(['allow', '--from-plan', ...args]) };
}

test('an owner pastes what it prints, and nothing is missing then', async (t) => {
  const { at, directory, allow } = agentWith(t, { kinds: [], paths: ['/etc/', '/srv/idle'] });
  const before = treeText(directory);
  const json = await allow('--config', at('agent.json'), '-o', 'json');
  assert.deepEqual(
    JSON.parse(json.stdout),
    {
      kinds: ['File'],
      paths: ['/etc/motd', '/etc/s', '/usr/local/bin/tool'],
      secrets: [at('none')],
      rootEquivalent: ['setuid:/usr/local/bin/tool'],
    },
    json.stderr,
  );
  assert.equal(json.status, 2, 'one could not be asked about yet');
  assert.match(json.stderr, /File\/secret may need more: the secret's file can't be read/);
  const text = await allow('--config', at('agent.json'));
  assert.match(text.stdout, /✓ {2}paths +\/etc\/motd {2}\(you grant \/etc\/\) +File\/motd/);
  assert.match(
    text.stdout,
    /\+ setuid:\/usr\/local\/bin\/tool\n +File\/tool: whoever runs it gets its owner’s/,
  );
  assert.match(text.stdout, /\/state\/agent\.key: it is the agent’s own \(File\/own\)/);
  assert.match(text.stdout, /- allow\.paths: \/srv\/idle/);
  assert.equal((await allow('--config', at('agent.json'), '--unused')).stdout, 'allow.paths: /srv/idle\n');
  assert.equal(treeText(directory), before, 'it wrote something');

  const config = JSON.parse(fs.readFileSync(at('agent.json'), 'utf8')) as object;
  fs.writeFileSync(at('agent.json'), JSON.stringify({ ...config, allow: JSON.parse(json.stdout) }));
  assert.match((await allow('--config', at('agent.json'))).stdout, /: 6 grants, 0 of them missing/);
});

test('without a controller it takes a directory of manifests, and needs no configuration', async (t) => {
  const directory = temporaryDirectory(t);
  const document = (kind: string, name: string, fields: object): string =>
    JSON.stringify({ apiVersion: 'homeostat.dev/v1', kind, metadata: { name }, ...fields });
  fs.writeFileSync(
    path.join(directory, 'all.yaml'),
    [
      document('Host', 'pi', { spec: {} }),
      document('File', 'motd', { hosts: { all: true }, spec: { path: '/etc/motd', content: '' } }),
    ].join('\n---\n'),
  );
  const homeostat = homeostatIn(directory);
  const args = ['allow', '--from-plan', '--dir', '.', '--config', 'none.json'];
  const answer = await homeostat([...args, '--host', 'pi', '-o', 'json']);
  assert.deepEqual(JSON.parse(answer.stdout), { kinds: ['File'], paths: ['/etc/motd'] }, answer.stderr);
  assert.equal(answer.status, 0);
  assert.match((await homeostat([...args, '--host', 'po'])).stderr, /no Host\/po in \., did you mean pi\?/);
});

test('an agent that got nothing yet says what to do', async (t) => {
  const { at, allow } = agentWith(t, {});
  fs.rmSync(at('state/bundle.json'));
  const { status, stderr } = await allow('--config', at('agent.json'));
  assert.equal(status, 1);
  assert.match(
    stderr,
    /no manifest in .* yet: start it and wait .* or name a directory of manifests with --dir/,
  );
  const other = await allow('--config', at('agent.json'), '-o', 'xml');
  assert.match(other.stderr, /Write text, json or yaml/);
});
