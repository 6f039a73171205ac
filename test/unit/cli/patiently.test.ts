// One-shot calls: a fault that passes is waited for, and anything else is an answer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { patiently, unreached } from '../../../cli/patiently.ts';

const failing = (code: string, times: number) => {
  let asked = 0;
  const call = async (): Promise<string> => {
    asked += 1;
    if (asked <= times) throw Object.assign(new Error(`it says ${code}`), { code });
    return 'answer';
  };
  return { call, asked: () => asked };
};

test('a controller that is being restarted is asked again, and not for ever', async () => {
  for (const code of [
    'ECONNREFUSED',
    'ECONNRESET',
    'EAI_AGAIN',
    'UND_ERR_SOCKET',
    'UND_ERR_CONNECT_TIMEOUT',
  ]) {
    const { call, asked } = failing(code, 1);
    assert.equal(await patiently(call), 'answer');
    assert.equal(asked(), 2);
  }
  const { call, asked } = failing('ECONNREFUSED', 9);
  await assert.rejects(patiently(call), /it says ECONNREFUSED/);
  assert.equal(asked(), 3);
});

test('what another try can’t mend is tried once, and says what it said', async () => {
  for (const code of ['ERR_INVALID_URL', 'ENOTFOUND', 'CERT_HAS_EXPIRED', 'UND_ERR_HEADERS_TIMEOUT', '']) {
    const { call, asked } = failing(code, 9);
    await assert.rejects(patiently(call), new RegExp(`it says ${code}`));
    assert.equal(asked(), 1);
  }
});

test('a defect of ours is not called a controller that can’t be reached', () => {
  const refused = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
  assert.match(String(unreached('http://c', refused, 'look')), /http:\/\/c can't be reached: .*; look$/);
  const defect = new TypeError('n is not a function');
  assert.equal(unreached('http://c', defect, 'look'), defect);
});
