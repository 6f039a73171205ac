// Directories are made as mkdir -p makes them, and where none can be made that is an error, and not a loop: node's
// own recursive mkdir never ends below /proc.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { createFiles } from '../../../agent/providers/files.ts';
import { errnoOf } from '../../../api/errors.ts';

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-directories-'));
const files = createFiles();
after(async () => {
  await files.close();
  fs.rmSync(scratch, { recursive: true, force: true });
});

test('a file below /proc is an error at once', { timeout: 20_000, skip: !fs.existsSync('/proc/1') }, () => {
  for (const file of ['/proc/nope/x/file', '/proc/1/x/y/file', '/proc/nope']) {
    assert.throws(
      () => files.replaceAtomic(file, Buffer.from('x'), { mode: 0o600 }),
      (error) => errnoOf(error) !== '',
      file,
    );
  }
});

test('what leads to a file is made with mode 0755', () => {
  const file = path.join(scratch, 'a', 'b', 'c');
  files.replaceAtomic(file, Buffer.from('x'), { mode: 0o600 });
  assert.equal(fs.readFileSync(file, 'utf8'), 'x');
  assert.equal(fs.statSync(path.dirname(file)).mode & 0o777, 0o755);
});
