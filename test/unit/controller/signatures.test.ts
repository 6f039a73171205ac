// Request signatures: what is signed can't be changed, and what is refused says why.
import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { SignatureRefused, signRequest, verifyRequest } from '../../../api/signatures.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const now = 1_800_000_000;
const put = { method: 'PUT', url: '/v1/hosts/pi/status?x=1', body: '{"a":1}' };
const sign = (over: object = {}) =>
  signRequest({ ...put, privateKey, keyId: '0123456789abcdef', createdSeconds: now, ...over });
const check = (over: object = {}, headers = sign()) =>
  verifyRequest({ ...put, headers, publicKey, nowSeconds: now, ...over });
const code = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof SignatureRefused, String(error));
    return error.code;
  }
  return 'accepted';
};

test('a signed request is accepted, with or without a body, by path or by absolute URL', () => {
  assert.equal(check().keyId, '0123456789abcdef');
  const { method, url } = { method: 'GET', url: 'http://h:1/v1/hosts/pi/bundle?wait=55' };
  const headers = signRequest({ method, url, privateKey, keyId: 'k', createdSeconds: now });
  assert.equal(
    verifyRequest({ method, url: '/v1/hosts/pi/bundle?wait=55', headers, publicKey, nowSeconds: now })
      .created,
    now,
  );
  assert.equal(headers['content-digest'], undefined);
});

test('whatever is changed on the way is noticed', () => {
  assert.equal(
    code(() => check({ method: 'POST' })),
    'BadSignature',
  );
  assert.equal(
    code(() => check({ url: '/v1/hosts/other/status?x=1' })),
    'BadSignature',
  );
  assert.equal(
    code(() => check({ url: '/v1/hosts/pi/status?x=2' })),
    'BadSignature',
  );
  assert.equal(
    code(() => check({ body: '{"a":2}' })),
    'BadSignature',
  );
  assert.equal(
    code(() => check({ body: undefined })),
    'BadSignature',
  );
  assert.equal(
    code(() => check({ publicKey: createPublicKey(generateKeyPairSync('ed25519').privateKey) })),
    'BadSignature',
  );
  const without = { ...sign() };
  delete without['content-digest'];
  assert.equal(
    code(() => check({}, without)),
    'BadSignature',
  );
  const bodiless = signRequest({
    method: put.method,
    url: put.url,
    privateKey,
    keyId: 'k',
    createdSeconds: now,
  });
  assert.equal(
    code(() => check({}, bodiless)),
    'BadSignature',
    'a body must not ride on a signature without one',
  );
  const fewer = { ...sign(), 'signature-input': sign()['signature-input']!.replace('"@query" ', '') };
  assert.equal(
    code(() => check({}, fewer)),
    'BadSignature',
  );
  const otherAlg = {
    ...sign(),
    'signature-input': sign()['signature-input']!.replace('ed25519', 'hmac-sha256'),
  };
  assert.equal(
    code(() => check({}, otherAlg)),
    'BadSignature',
  );
});

test('an unsigned request and a wrong clock are told apart from forgery', () => {
  assert.equal(
    code(() => check({}, {})),
    'Unsigned',
  );
  assert.equal(
    code(() => check({ nowSeconds: now + 301 })),
    'ClockSkew',
  );
  assert.equal(
    code(() => check({ nowSeconds: now - 301 })),
    'ClockSkew',
  );
  assert.equal(
    code(() => check({ nowSeconds: now + 300 })),
    'accepted',
  );
  assert.equal(
    code(() => check({ nowSeconds: now + 999, method: 'POST' })),
    'BadSignature',
    'the clock is only told to the key holder',
  );
});

test('the signature base is RFC 9421: a signature made by hand fits', () => {
  // Laid out as section 2.5 says; a change of wire format must show here.
  const headers = sign({ nonce: 'abcdefgh' });
  assert.equal(
    headers['signature-input'],
    'sig1=("@method" "@path" "@query" "content-digest");created=1800000000;keyid="0123456789abcdef";alg="ed25519";nonce="abcdefgh"',
  );
  assert.match(headers['content-digest']!, /^sha-256=:[A-Za-z0-9+/=]{44}:$/);
  assert.match(headers['signature']!, /^sig1=:[A-Za-z0-9+/=]{88}:$/);
});
