/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): `alloy run`, from the
 * first line of its log to the last.
 */
import type { Surroundings } from './component.ts';
import { Controller } from './controller.ts';
import { Failure } from './load.ts';
import { Metrics } from './metrics.ts';
import { allowedBy } from './references.ts';
import { Alloy, LoadError } from './server.ts';
import { printDiagnostics } from './source.ts';

/** @throws Failure when it can't start; resolves after SIGTERM or SIGINT */
export async function run(path: string, flags: ReadonlyMap<string, string>): Promise<void> {
  const address = flags.get('--server.http.listen-addr') ?? '127.0.0.1:12345';
  const colon = address.lastIndexOf(':');
  const metrics = new Metrics();
  const surroundings: Surroundings = {
    storagePath: flags.get('--storage.path') ?? 'data-alloy/',
    flushMs: Number(process.env['HOMEOSTAT_STANDIN_FLUSH_MS'] ?? 60_000),
    journalctl: process.env['HOMEOSTAT_STANDIN_JOURNALCTL'] ?? 'journalctl',
    metrics,
    process: metrics.scope(),
    inMemory: new Map(),
    log,
  };
  log('info', "homeostat's stand-in for Grafana Alloy is starting; it is not Alloy");
  const controller = new Controller(surroundings, allowedBy(flags));
  const alloy = new Alloy(path, controller, surroundings);
  const ended = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve(signal));
  });
  process.on('SIGHUP', () => void alloy.reload());

  // Before the first load, as Alloy does: not ready is an answer too.
  const host = address.slice(0, colon).replace(/^\[|\]$/g, '');
  const server = await alloy
    .listen(host || '0.0.0.0', Number(address.slice(colon + 1)))
    .catch((error: Error) => {
      throw new Failure(`failed to run alloy: ${error.message}`);
    });
  const bound = server.address();
  const port = bound !== null && typeof bound === 'object' ? bound.port : address;
  log('info', 'now listening for http traffic', { addr: `${host}:${port}` });
  try {
    await alloy.load();
  } catch (error) {
    if (!(error instanceof LoadError)) throw error;
    if (error.diagnostics.length === 0) throw new Failure(error.message);
    process.stderr.write(printDiagnostics(error.diagnostics));
    process.stdout.write('\n');
    throw new Failure('could not perform the initial load successfully');
  }
  log('info', 'Alloy stand-in is running');

  log('info', 'interrupt received', { signal: await ended });
  server.close();
  await controller.stop();
}

function log(level: string, message: string, details: Record<string, string | number> = {}): void {
  const pairs = Object.entries({ ts: new Date().toISOString(), level, msg: message, ...details });
  const quote = (value: string | number): string =>
    /[\s"=]/.test(String(value)) ? JSON.stringify(value) : String(value);
  process.stderr.write(`${pairs.map(([name, value]) => `${name}=${quote(value)}`).join(' ')}\n`);
}
