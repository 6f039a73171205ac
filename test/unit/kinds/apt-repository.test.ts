// Keys and sources of AptRepository; GnuPG is the judge of fingerprints and of when a key expires.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { KeyError } from '../../../kinds/apt-repository/armour.ts';
import { aptRepository } from '../../../kinds/apt-repository/index.ts';
import { expiryConcern, expiryFor, pinned } from '../../../kinds/apt-repository/key.ts';
import { readKeys } from '../../../kinds/apt-repository/openpgp.ts';
import type { AptRepositorySpec } from '../../../kinds/apt-repository/schema.ts';
import { indexPaths, sourceText } from '../../../kinds/apt-repository/source.ts';
import { AptArchive, gpg } from '../../support/apt-archive.ts';
import { APT, require } from '../../support/capabilities.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

const DAY_MS = 86_400_000;
// RFC 9580, A.3: the primary key of its sample certificate of version 6.
const V6 = 'xioGY4d/4xsAAAAg+U2nu0jWCmHlZ3BqZYfQMxmZu52JGggkLq2EVD34laM=';
const V6_FINGERPRINT = 'CB186C4F0609A697E4D52DFA6C722B0C1F1E27C18A56708F6525EC27BAD9ACC9';

const spec = (more: object = {}): AptRepositorySpec =>
  aptRepository.spec.parse({
    name: 'grafana',
    uris: ['https://apt.grafana.com'],
    suites: ['stable'],
    components: ['main'],
    key: { fingerprint: V6_FINGERPRINT, content: V6 },
    ...more,
  }) as AptRepositorySpec;
const problems = (more: object) =>
  (aptRepository.check?.(spec(more)) ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);

test('GnuPG and we agree on fingerprints and ends, whatever the algorithm and the form', async (t) => {
  if (!require(t, APT)) return;
  const archive = new AptArchive(temporaryDirectory(t));
  t.after(() => archive.close());
  const signer = archive.newKey('rsa', { algorithm: 'rsa2048', expires: '2y' });
  // As many publishers have it: the key certifies, a subkey signs and is renewed.
  const withSubkey = archive.newKey('subkey', { usage: 'cert' });
  gpg(
    withSubkey.home,
    '--passphrase',
    '',
    '--quick-add-key',
    withSubkey.fingerprint,
    'rsa2048',
    'sign',
    '1y',
  );
  const keys = [archive.key, signer, archive.exported(withSubkey)];
  for (const { home, fingerprint, armoured, binary } of keys) {
    const forms = [armoured, armoured.replaceAll('\n', '\r\n'), binary, binary.toString('base64')];
    // As of RFC 9580 the checksum is no longer written.
    forms.push(armoured.replace(/^=.{4}$/m, ''));
    for (const form of forms) {
      const [key, ...others] = readKeys(Buffer.from(form));
      assert.equal(key!.fingerprint, fingerprint);
      assert.deepEqual(others, []);
      assert.ok(key!.packets.equals(binary), 'what apt gets is what GnuPG would have given it');
    }
    const listed = gpg(home, '--with-colons', '--list-keys').toString().split('\n');
    const ends = listed.filter((line) => /^(pub|sub):/.test(line)).map((line) => line.split(':')[6]);
    const end = ends.at(-1) === '' ? undefined : Number(ends.at(-1)) * 1000;
    assert.equal(readKeys(binary)[0]!.expiresMs, end);
  }
  const both = Buffer.concat([signer.binary, archive.key.binary]);
  assert.deepEqual(
    readKeys(both).map(({ fingerprint }) => fingerprint),
    [signer.fingerprint, archive.key.fingerprint],
  );
  const one = pinned(spec({ key: { fingerprint: signer.fingerprint } }), both, 'x');
  assert.ok(one.bytes.equals(signer.binary), 'what is not pinned is left out');
  assert.throws(
    () => pinned(spec({ key: { fingerprint: withSubkey.fingerprint } }), both, 'the file'),
    (error: Error & { reason?: string }) => {
      assert.equal(error.reason, 'KeyMismatch');
      for (const name of [withSubkey.fingerprint, signer.fingerprint, archive.key.fingerprint, 'the file'])
        assert.ok(error.message.includes(name), error.message);
      return true;
    },
  );
  const exported = gpg(
    signer.home,
    '--armor',
    '--passphrase',
    '',
    '--pinentry-mode=loopback',
    '--export-secret-keys',
  );
  for (const form of [exported, Buffer.from(exported.toString().split('\n').slice(2, -3).join(''), 'base64')])
    assert.throws(() => readKeys(form), /private key/);
});

test('a key that is renewed counts until its new end; somebody else’s signature moves nothing', async (t) => {
  if (!require(t, APT)) return;
  const archive = new AptArchive(temporaryDirectory(t));
  t.after(() => archive.close());
  const key = archive.newKey('renewed', { expires: '1y' });
  const before = readKeys(key.binary)[0]!.expiresMs!;
  gpg(key.home, '--passphrase', '', '--quick-set-expire', key.fingerprint, '3y');
  const after = readKeys(archive.exported(key).binary)[0]!.expiresMs!;
  assert.ok(after - before > 700 * DAY_MS, `${before} to ${after}`);
  // The owner of another key signs this one.
  gpg(
    archive.key.home,
    '--import',
    '--import-options',
    'import-clean',
    writeKey(archive, archive.exported(key).binary),
  );
  gpg(archive.key.home, '--passphrase', '', '--yes', '--quick-sign-key', key.fingerprint);
  const signed = gpg(archive.key.home, '--export', key.fingerprint);
  assert.ok(signed.length > archive.exported(key).binary.length);
  assert.equal(readKeys(signed)[0]!.expiresMs, after);
});

function writeKey(archive: AptArchive, bytes: Buffer): string {
  const file = `${archive.directory}/key.gpg`;
  fs.writeFileSync(file, bytes);
  return file;
}

test('version 6 has the fingerprint of its standard', () => {
  const [key] = readKeys(Buffer.from(V6));
  assert.equal(key!.fingerprint, V6_FINGERPRINT);
  assert.equal(key!.expiresMs, undefined);
});

test('whatever bytes it gets, it says what they are, and never anything else', () => {
  const key = Buffer.from(V6, 'base64');
  const armoured = `-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n${V6}\n`;
  const wrong: Record<string, Buffer | string> = {
    'neither armoured': '<html>404</html>',
    'no public key': Buffer.from([0xcd, 1, 0x41]), // a name without its key
    'cut off': key.subarray(0, 30),
    'END line': armoured,
    checksum: `${armoured}=AAAA\n-----END PGP PUBLIC KEY BLOCK-----\n`,
    'private key': '-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n-----END PGP PRIVATE KEY BLOCK-----\n',
    keybox: Buffer.from('\0\0\0 \x01\x01\0\x02KBXf\0\0\0\0', 'latin1'),
    'version 3': Buffer.from([0x98, 4, 3, 0, 0, 0]),
  };
  for (const [words, bytes] of Object.entries(wrong))
    assert.throws(
      () => readKeys(Buffer.from(bytes)),
      { name: 'KeyError', message: new RegExp(words) },
      words,
    );
  const bytes = fc.uint8Array({ maxLength: 200 });
  fc.assert(
    fc.property(bytes, fc.nat(key.length), (noise, at) => {
      for (const material of [
        Buffer.from(noise),
        Buffer.concat([key.subarray(0, at), noise, key.subarray(at)]),
      ]) {
        try {
          readKeys(material);
        } catch (error) {
          assert.ok(error instanceof KeyError, String(error));
        }
      }
    }),
  );
  assert.throws(() => readKeys(Buffer.concat([Buffer.from([0xd5]), randomBytes(40)])), KeyError);
});

test('the expiry of a key is seen coming', () => {
  const nowMs = Date.UTC(2026, 0, 1);
  const said = (expiresMs: number | undefined, more: object = {}) => {
    const keyring = { bytes: Buffer.alloc(0), fingerprints: [], keys: [{ expiresMs, signing: [] }] };
    return expiryConcern(spec(more), keyring, { signers: [], nowMs }).map(
      ({ status, reason }) => `${status} ${reason}`,
    )[0];
  };
  assert.equal(said(undefined), 'False NeverExpires');
  assert.equal(said(nowMs + 60 * DAY_MS), 'False Valid');
  assert.equal(said(nowMs + 60 * DAY_MS, { keyExpiryWarningDays: 90 }), 'True ExpiresSoon');
  assert.equal(said(nowMs + 10 * DAY_MS), 'True ExpiresSoon');
  assert.equal(said(nowMs - 1), 'True Expired');
  assert.deepEqual(expiryConcern(spec(), undefined, { signers: [], nowMs }), []);
});

test('of a key that signed the index, the end of that very subkey counts', () => {
  const signing = [
    { fingerprint: 'AAAA1111', expiresMs: undefined },
    { fingerprint: 'BBBB2222', expiresMs: 5 },
  ];
  const keyring = {
    bytes: Buffer.alloc(0),
    fingerprints: [],
    keys: [
      { expiresMs: undefined, signing },
      { expiresMs: 3, signing: [{ fingerprint: 'CCCC3333', expiresMs: 3 }] },
    ],
  };
  assert.equal(expiryFor(keyring, ['2222']), 5);
  assert.equal(expiryFor(keyring, ['1111']), undefined);
  assert.equal(expiryFor(keyring, ['1111', '2222']), undefined);
  assert.equal(expiryFor(keyring, ['9999']), 3, 'signed by nobody that is known: all of them count');
});

test('sources are written in either form', () => {
  const full = spec({ types: ['deb', 'deb-src'], suites: ['a', 'b'], architectures: ['arm64', 'amd64'] });
  assert.equal(
    sourceText(full, '/k.gpg').replace(/^#.*\n/, ''),
    'Types: deb deb-src\nURIs: https://apt.grafana.com\nSuites: a b\nComponents: main\nArchitectures: arm64 amd64\nSigned-By: /k.gpg\n',
  );
  const line = (type: string, suite: string) =>
    `${type} [arch=arm64,amd64 signed-by=/k.gpg] https://apt.grafana.com ${suite} main\n`;
  assert.equal(
    sourceText({ ...full, format: 'one-line' }, '/k.gpg').replace(/^#.*\n/, ''),
    line('deb', 'a') + line('deb', 'b') + line('deb-src', 'a') + line('deb-src', 'b'),
  );
});

test('indexes are looked for where apt keeps them', () => {
  const paths = (uri: string, suite: string) =>
    indexPaths(spec({ uris: [uri], suites: [suite] }))[0]!.paths[0].replace('/var/lib/apt/lists/', '');
  assert.equal(paths('https://apt.grafana.com', 'stable'), 'apt.grafana.com_dists_stable_InRelease');
  assert.equal(paths('http://h:8080/a_b/', 'x/updates'), 'h:8080_a%5fb_dists_x_updates_InRelease');
  assert.equal(paths('file:/srv/repo', './'), '_srv_repo_._InRelease');
});

test('what can’t be right is said before anything is sent', () => {
  assert.deepEqual(problems({}), []);
  const key = { fingerprint: V6_FINGERPRINT };
  assert.match(problems({ key })[0]!, /^key: give one of content/);
  assert.match(
    problems({ key: { ...key, content: V6, url: 'https://x/y' } })[0]!,
    /^key: give one of content/,
  );
  assert.match(
    problems({ key: { fingerprint: 'A'.repeat(40), content: V6 } })[0]!,
    /^key.content: .*is pinned/,
  );
  assert.match(problems({ components: [] })[0]!, /^suites.0: a suite needs components/);
  assert.match(problems({ suites: ['./'] })[0]!, /^suites.0: a suite that is a directory has no components/);
  assert.match(problems({ uris: ['https://user:word@host/x'] })[0]!, /auth\.conf\.d/);
  const refused = (more: object) => !aptRepository.spec.safeParse({ ...spec(), ...more }).success;
  assert.ok(refused({ key: { fingerprint: '10458545', content: V6 } }), 'a key id pins nothing');
  assert.ok(refused({ suites: ['a\nSigned-By: /x'] }));
  assert.ok(refused({ uris: ['https://x trusted=yes'] }));
  assert.ok(refused({ name: '../x' }));
});

test('a repository asks for what amounts to root', () => {
  const permissions = aptRepository.permissions(
    spec({ key: { fingerprint: V6_FINGERPRINT, url: 'https://k.example.org/a.asc' } }),
  );
  const values = permissions.map(({ type, value }) => `${type} ${value}`);
  for (const ask of [
    'package repository:https://apt.grafana.com',
    'root-equivalent repository:https://apt.grafana.com',
    'url https://k.example.org',
    'path /etc/apt/keyrings/grafana.gpg',
  ])
    assert.ok(values.includes(ask), `${ask} of ${values}`);
});
