// By which names a server may be called, and by whose pages.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isOfAnotherPage, isOwnName, nameInHost } from '../../../api/own-names.ts';

test('addresses, single words, reserved names and those that were named are ours; names that others may own are not', () => {
  const named = ['mac-mini.tail1234.ts.net'];
  for (const header of [
    '127.0.0.1:8420',
    '[::1]:8420',
    '[fd7a:115c:a1e0::1]',
    'localhost',
    'LOCALHOST:8420',
    'mac-mini:8420',
    'mac-mini.tail1234.ts.net.:8420',
    'host.docker.internal:8420',
  ]) {
    assert.equal(isOwnName(nameInHost(header), named), true, header);
  }
  for (const header of [
    undefined,
    '',
    ':8420',
    'evil.example.com',
    'evil.example.com:8420',
    '127.0.0.1.evil.example.com',
    'mac-mini.tail1234.ts.net.evil.example.com',
    'internal.evil.example',
    '127.0.0.1, evil.example.com',
    'evil.example.com:80:80',
    'a b',
    'user@localhost',
    '2130706433.example.com',
  ]) {
    assert.equal(isOwnName(nameInHost(header), named), false, String(header));
  }
});

test('a page of another origin may not ask; a link that a person follows may', () => {
  const host = 'mac-mini:8420';
  assert.equal(isOfAnotherPage('GET', { host }), false, 'no browser');
  assert.equal(isOfAnotherPage('POST', { host, origin: `http://${host}` }), false);
  assert.equal(isOfAnotherPage('POST', { host, origin: 'http://mac-mini:3000' }), true);
  assert.equal(isOfAnotherPage('GET', { host, origin: 'null' }), true);
  const from = (site: string, mode: string) => ({ host, 'sec-fetch-site': site, 'sec-fetch-mode': mode });
  assert.equal(isOfAnotherPage('GET', from('cross-site', 'navigate')), false);
  assert.equal(isOfAnotherPage('GET', from('cross-site', 'no-cors')), true, 'an image');
  assert.equal(isOfAnotherPage('POST', from('cross-site', 'navigate')), true, 'a form');
  assert.equal(isOfAnotherPage('POST', from('same-site', 'cors')), true, 'another port of this host');
  assert.equal(isOfAnotherPage('GET', from('none', 'navigate')), false, 'typed by a person');
  assert.equal(isOfAnotherPage('POST', from('same-origin', 'cors')), false);
});
