// Runs command lines one after the other in one process, for tests that have many of them: what a message of the
// parent asks for, and what it printed and ended with in return (cli-runs.ts).
import { loadProgram } from '../../cli/commands.ts';
import { fail } from '../../cli/failure.ts';
import { runProgram } from '../../cli/program.ts';

export interface Run {
  readonly args: readonly string[];
  readonly cwd: string;
}

export interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run({ args, cwd }: Run): Promise<Ran> {
  process.chdir(cwd);
  process.exitCode = 0;
  const said = { stdout: '', stderr: '' };
  const streams = ['stdout', 'stderr'] as const;
  const real = streams.map((name) => process[name].write);
  for (const name of streams) {
    process[name].write = (chunk: string | Uint8Array) => {
      said[name] += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString();
      return true;
    };
  }
  try {
    await loadProgram(args[0])
      .then((program) => runProgram(program, args))
      .catch(fail);
    return { status: Number(process.exitCode), ...said };
  } finally {
    for (const [i, name] of streams.entries()) process[name].write = real[i]!;
    process.stdout.removeAllListeners('error');
    process.exitCode = 0;
  }
}

process.on('message', (asked: Run) => {
  void run(asked).then((ran) => process.send!(ran));
});
