import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { test } from 'node:test';

for (const how of ['return', 'exit', 'throw']) {
  test(`no line is lost, and each comes in its order, when the process ends by ${how}`, async () => {
    const script = path.join(import.meta.dirname, 'log-lines.ts');
    const child = spawn(process.execPath, [script, how], { stdio: ['ignore', 'pipe', 'ignore'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    await once(child, 'close');
    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { level: string; i: number; msg: string });
    assert.deepEqual(
      lines.map(({ i }) => i),
      Array.from({ length: 1000 }, (_, i) => i),
    );
    assert.equal(lines[0]!.level, 'info');
  });
}
