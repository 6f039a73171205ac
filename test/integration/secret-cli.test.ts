// `homeostat secret`, as people use it: real processes, real files, an editor that is a script.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory } from '../support/sandbox.ts';

const program = path.join(path.dirname(path.dirname(import.meta.dirname)), 'cli', 'homeostat.ts');
const SECRET = 'open sesame 8f2c';

function begin(t: TestContext) {
  const directory = temporaryDirectory(t);
  const memory = path.join(directory, 'memory');
  fs.mkdirSync(memory);
  const env = { ...process.env, NO_COLOR: '1', XDG_RUNTIME_DIR: memory, HOME: directory };
  const run = (args: string[], { input = '', more = {} }: { input?: string; more?: object } = {}) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
      cwd: directory,
      encoding: 'utf8',
      timeout: 60_000,
      input,
      env: { ...env, HOMEOSTAT_AGE_IDENTITY: path.join(directory, 'me.key'), ...more },
    });
    return { status, stdout: stdout.trim(), stderr: stderr.trim() };
  };
  const secret = (...args: string[]) => run(['secret', ...args]);
  const file = (name: string) => path.join(directory, name);
  const write = (name: string, text: string) => {
    fs.mkdirSync(path.dirname(file(name)), { recursive: true });
    fs.writeFileSync(file(name), text);
  };
  const read = (name: string) => fs.readFileSync(file(name), 'utf8');
  /** A program that is run as `script FILE`. @returns how it is named in EDITOR, with an argument before the file. */
  const editor = (script: string) => {
    fs.writeFileSync(file('editor'), `#!/bin/sh\nshift\n${script}\n`, { mode: 0o755 });
    return { VISUAL: '', EDITOR: `'${file('editor')}' --wait` };
  };
  const recipient = (name: string) => secret('keygen', '--out', name).stdout;
  return { directory, memory, run, secret, file, write, read, editor, recipient };
}

/** Two hosts, a person, and a document that names a secret for the first. */
function withManifests(t: TestContext) {
  const box = begin(t);
  const [me, pi, mac] = ['me.key', 'pi.key', 'mac.key'].map(box.recipient);
  const hosts = (piHas = true, macToo = false) =>
    box.write(
      'm/all.yaml',
      `apiVersion: homeostat.dev/v1
kind: Fleet
metadata: {name: fleet}
spec: {secretRecipients: [${me}]}
---
apiVersion: homeostat.dev/v1
kind: Host
metadata: {name: pi, labels: {alloy: apt}}
spec: {mode: enforce${piHas ? `, ageRecipient: ${pi}` : ''}}
---
apiVersion: homeostat.dev/v1
kind: Host
metadata: {name: mac, labels: {os: macos}}
spec: {mode: enforce, ageRecipient: ${mac}}
---
apiVersion: homeostat.dev/v1
kind: File
metadata: {name: token}
hosts: {names: [pi${macToo ? ', mac' : ''}]}
spec: {path: /etc/token, mode: "0600", content: {secretFrom: {ageFrom: secrets/token.age}}}
`,
    );
  hosts();
  const encrypt = (input = SECRET, more: string[] = []) =>
    box.run(['secret', 'encrypt', '--dir', 'm', '--out', 'm/secrets/token.age', ...more], { input });
  /** What a host with this identity makes of the manifests. */
  const once = (host: string) =>
    box.run(['once', '--dir', 'm', '--host', host, '--root', `root-${host}`], {
      more: { HOMEOSTAT_AGE_IDENTITY: box.file(`${host}.key`) },
    });
  return { ...box, hosts, encrypt, once };
}

test('keygen makes an identity for its owner only, and keeps the one that is there', (t) => {
  const { secret, file, read } = begin(t);
  const { stdout } = secret('keygen', '--out', 'keys/me.key');
  assert.match(stdout, /^age1[a-z0-9]{58}$/);
  assert.equal(fs.statSync(file('keys/me.key')).mode & 0o777, 0o600);
  const before = read('keys/me.key');
  const again = secret('keygen', '--out', 'keys/me.key');
  assert.equal(again.stdout, stdout);
  assert.match(again.stderr, /is there already, and is kept/);
  assert.equal(read('keys/me.key'), before);
});

test('encrypted to the hosts of the document that names it; the host decrypts it, another one can’t', (t) => {
  const { encrypt, once, read, hosts } = withManifests(t);
  const wrote = encrypt();
  assert.equal(wrote.status, 0, wrote.stderr);
  assert.equal(wrote.stdout, 'wrote m/secrets/token.age, for pi and 1 person');
  assert.match(read('m/secrets/token.age'), /^-----BEGIN AGE ENCRYPTED FILE-----/);
  assert.ok(!read('m/secrets/token.age').includes(SECRET));
  const done = once('pi');
  assert.equal(done.status, 0, done.stdout + done.stderr);
  assert.equal(read('root-pi/etc/token'), SECRET);
  hosts(true, true);
  const refused = once('mac');
  assert.equal(refused.status, 2);
  assert.match(
    refused.stdout,
    /SecretUndecryptable: secrets\/token\.age is not encrypted to this host, whose recipient is age1\w+; write that into Host\/mac as ageRecipient, then run `homeostat secret rekey`/,
  );
  assert.match(
    refused.stderr,
    /warning: secrets\/token\.age is encrypted to 2 recipients, and 3 have to read it/,
  );
});

test('a secret that documents have from their profile is for the hosts of them all', (t) => {
  const { encrypt, once, read, write } = withManifests(t);
  write(
    'm/profile/all.yaml',
    `apiVersion: homeostat.dev/v1
kind: Profile
metadata: {name: p}
hosts: {names: [mac]}
spec: {mode: "0600", content: {secretFrom: {ageFrom: ../secrets/token.age}}}
---
kind: File
metadata: {name: of-the-profile}
profile: p
spec: {path: /etc/of-the-profile}
`,
  );
  assert.equal(encrypt().stdout, 'wrote m/secrets/token.age, for mac, pi and 1 person');
  const done = once('mac');
  assert.equal(done.status, 0, done.stdout + done.stderr);
  assert.equal(read('root-mac/etc/of-the-profile'), SECRET);
});

test('edit: with the editor, in a private place that is gone afterwards; nothing in any argv', (t) => {
  const { encrypt, run, editor, once, read, file, memory } = withManifests(t);
  encrypt();
  const edited = run(['secret', 'edit', '--dir', 'm', 'm/secrets/token.age'], {
    more: editor(
      `stat -c '%a %n' "$1" "$(dirname "$1")" > seen; cat /proc/[0-9]*/cmdline | tr '\\0' ' ' > argv; printf '%s changed' "$(cat "$1")" > "$1"; touch "$1.swp"`,
    ),
  });
  assert.equal(edited.status, 0, edited.stderr);
  assert.equal(edited.stdout, 'wrote m/secrets/token.age, for pi and 1 person');
  const [copy, place] = read('seen').trim().split('\n');
  assert.match(copy!, new RegExp(`^600 ${memory}/homeostat-secret-\\w+/token$`));
  assert.match(place!, new RegExp(`^700 ${memory}/homeostat-secret-`));
  assert.ok(!read('argv').includes(SECRET));
  assert.deepEqual(fs.readdirSync(memory), [], 'the editor’s own copies go too');
  once('pi');
  assert.equal(read('root-pi/etc/token'), `${SECRET} changed`);

  const before = read('m/secrets/token.age');
  const unchanged = run(['secret', 'edit', '--dir', 'm', 'm/secrets/token.age'], { more: editor('true') });
  assert.equal(unchanged.stdout, 'm/secrets/token.age is unchanged');
  const failed = run(['secret', 'edit', '--dir', 'm', 'm/secrets/token.age'], {
    more: editor('echo other > "$1"; exit 3'),
  });
  assert.equal(failed.status, 1);
  assert.match(failed.stderr, /the editor .* ended with 3: nothing was written/);
  const emptied = run(['secret', 'edit', '--dir', 'm', 'm/secrets/token.age'], { more: editor(': > "$1"') });
  assert.match(emptied.stderr, /the value is empty: .* is left as it was/);
  const killed = run(['secret', 'edit', '--dir', 'm', 'm/secrets/token.age'], {
    more: editor(
      `p=$PPID; until tr '\\0' ' ' < /proc/$p/cmdline | grep -q 'homeostat.ts secret edit'; do p=$(ps -o ppid= -p $p | tr -d ' '); done; kill -TERM $p; while kill -0 $p 2> /dev/null; do :; done`,
    ),
  });
  assert.notEqual(killed.status, 0);
  assert.equal(read('m/secrets/token.age'), before);
  assert.deepEqual(fs.readdirSync(memory), [], 'also when it is killed');
  assert.ok(fs.existsSync(file('m/secrets/token.age')));
});

test('edit begins a secret that is not there yet', (t) => {
  const { run, editor, once, read } = withManifests(t);
  const begun = run(['secret', 'edit', '--dir', 'm', 'm/secrets/token.age'], {
    more: editor(`mkdir -p m/secrets; printf '${SECRET}' > "$1"`),
  });
  assert.equal(begun.status, 0, begun.stderr);
  once('pi');
  assert.equal(read('root-pi/etc/token'), SECRET);
});

test('rekey: a host that joined can read, one that left can’t; all files or none', (t) => {
  const { encrypt, run, once, read, hosts, write } = withManifests(t);
  encrypt();
  hosts(true, true);
  const both = run(['secret', 'rekey', '--dir', 'm']);
  assert.equal(both.stdout, 'wrote m/secrets/token.age, for mac, pi and 1 person');
  assert.equal(once('mac').status, 0);
  assert.equal(read('root-mac/etc/token'), SECRET);
  hosts();
  const inline = JSON.stringify(read('m/secrets/token.age'));
  write(
    'm/inline.yaml',
    `apiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: i}\nhosts: {names: [pi]}\nspec: {path: /i, content: {secretFrom: {age: ${inline}}}}\n`,
  );
  assert.match(
    run(['secret', 'rekey', '--dir', 'm']).stderr,
    /ciphertext in a document itself is left as it is, at inline\.yaml:1: move it into a file/,
  );
  hosts(true, true);
  assert.match(once('mac').stdout, /SecretUndecryptable/);

  const before = read('m/secrets/token.age');
  write('m/secrets/other.age', 'damaged');
  write(
    'm/other.yaml',
    'apiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: o}\nhosts: {all: true}\nspec: {path: /o, content: {secretFrom: {ageFrom: secrets/other.age}}}\n',
  );
  const refused = run(['secret', 'rekey', '--dir', 'm']);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /m\/secrets\/other\.age is no age file, or damaged/);
  assert.equal(read('m/secrets/token.age'), before, 'none is written');
  const stranger = run(['secret', 'rekey', '--dir', 'm', 'm/secrets/token.age', '--identity', 'mac.key']);
  assert.match(
    stranger.stderr,
    /is not encrypted to you \(mac\.key is age1\w+\): .*secretRecipients of the Fleet/,
  );
  assert.equal(read('m/secrets/token.age'), before);
});

test('mistakes are told: no hosts, unknown hosts, hosts without recipient, nothing to encrypt, no identity', (t) => {
  const { encrypt, run, secret, hosts, directory, write } = withManifests(t);
  const fresh = (...more: string[]) =>
    run(['secret', 'encrypt', '--dir', 'm', '--out', 'm/secrets/new.age', ...more], { input: 'x' });
  assert.match(fresh().stderr, /no document names secrets\/new\.age \(ageFrom\) yet: say --hosts/);
  assert.match(fresh('--hosts', 'py').stderr, /there is no Host\/py: did you mean pi\?/);
  assert.match(fresh('--hosts', 'alloy=snap').stderr, /no host has the labels alloy=snap/);
  assert.match(fresh('--hosts', 'alloy=apt').stdout, /for pi and 1 person$/);
  assert.match(fresh('--hosts', 'all').stdout, /for mac, pi and 1 person$/);
  hosts(false);
  assert.match(encrypt().stderr, /no ageRecipient in Host\/pi: write there what homeostat enroll printed/);
  hosts();
  assert.match(encrypt('').stderr, /there is no value: nothing was read/);
  assert.equal(encrypt().status, 0);
  assert.match(
    secret('rekey', '--dir', 'm', '--identity', 'nobody.key').stderr,
    /there is no age identity nobody\.key; `homeostat secret keygen --out FILE` makes one/,
  );
  const file = 'apiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: broken}\n';
  for (const text of [
    'kind: [',
    `${file}hosts: [mac]\nspec: {path: /b, content: {secretFrom: {ageFrom: secrets/token.age}}}\n`,
    `${file}profile: gone\nspec: {path: /b}\n`,
  ]) {
    write('m/broken.yaml', text);
    assert.match(
      secret('rekey', '--dir', 'm').stderr,
      /some documents can’t be read, and may name secrets too/,
      text,
    );
  }
  assert.ok(!fs.existsSync(path.join(directory, 'm/secrets/token.age.new')));
});
