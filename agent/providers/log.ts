// The agent's log: JSON lines on stdout, with the level as a word. They are written by a thread, so that whoever reads
// them keeps nothing waiting; and those of a few milliseconds in one write, since to wake that thread takes as long as
// most of a heal (docs/performance.md).
import fs from 'node:fs';
import pino, { type Logger } from 'pino';

const STDOUT = 1;
const TOGETHER_MS = 5;

export function createLog(level = 'info'): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    level === 'silent' ? { write: () => undefined } : together(),
  );
}

function together(): pino.DestinationStream {
  const thread = pino.destination({ dest: STDOUT, sync: false });
  let lines = '';
  // After the thread's own, which writes what it was given before.
  process.on('exit', () => {
    try {
      for (let left = Buffer.from(lines); left.length > 0; ) left = left.subarray(fs.writeSync(STDOUT, left));
    } catch {
      // Nobody reads it any more.
    }
  });
  return {
    write(line) {
      if (lines === '') {
        setTimeout(() => {
          thread.write(lines);
          lines = '';
        }, TOGETHER_MS);
      }
      lines += line;
    },
  };
}
