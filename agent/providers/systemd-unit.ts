// What systemd says of a unit, as our UnitState. Pure. Properties: org.freedesktop.systemd1(5).
import type { UnitJob, UnitState } from '../../kinds/ports.ts';

/** What fromProperties reads, of the unit's own interface and of its type's. */
const PROPERTIES = [
  'Id',
  'LoadState',
  'LoadError',
  'ActiveState',
  'SubState',
  'UnitFileState',
  'NeedDaemonReload',
  'InvocationID',
  'FragmentPath',
  'DropInPaths',
  'FreezerState',
  'InactiveEnterTimestamp',
  'InactiveExitTimestamp',
  'InactiveExitTimestampMonotonic',
  'ActiveEnterTimestampMonotonic',
  'ActiveExitTimestampMonotonic',
  'MainPID',
  'Result',
  'Type',
  'ExecMainStartTimestamp',
  'ExecMainStartTimestampMonotonic',
  'ExecMainExitTimestampMonotonic',
  'ExecMainCode',
  'ExecMainStatus',
  'RemainAfterExit',
  'ExitType',
  'NRestarts',
  'RestartUSec',
  'ConditionResult',
  'ConditionTimestamp',
  'AssertResult',
  'AssertTimestamp',
] as const;
export type Properties = { readonly [name in (typeof PROPERTIES)[number]]?: unknown };
export type Variants = Readonly<Record<string, unknown>>;

/** Those that are read, of the hundreds that there are. */
export function valuesOf(variants: Variants): Properties {
  return Object.fromEntries(PROPERTIES.map((name) => [name, variantValues(variants[name])]));
}

/**
 * A unit's object path: each byte other than ASCII letters and digits, and a digit in front, as _ and two hex
 * digits (sd_bus_path_encode(3)).
 */
export function pathOfUnit(unit: string): string {
  const encoded = [...Buffer.from(unit)].map((byte, i) => {
    const c = String.fromCharCode(byte);
    return /[A-Za-z]/.test(c) || (i > 0 && /\d/.test(c)) ? c : `_${byte.toString(16).padStart(2, '0')}`;
  });
  return `/org/freedesktop/systemd1/unit/${encoded.join('') || '_'}`;
}

/** Takes the variants off, at every depth. */
export function variantValues(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(variantValues);
  if (Buffer.isBuffer(value)) return value;
  if (typeof value !== 'object' || value === null) return value;
  if ('signature' in value && 'value' in value) return variantValues(value.value);
  return Object.fromEntries(Object.entries(value).map(([name, v]) => [name, variantValues(v)]));
}

export function fromProperties(p: Properties, unitFileState: string): UnitState {
  const activeState = String(p['ActiveState']) as UnitState['activeState'];
  const [, loadError] = (p['LoadError'] ?? ['', '']) as [string, string];
  const runs = activeState !== 'inactive' && activeState !== 'failed' && p['SubState'] !== 'auto-restart';
  return {
    ...(typeof p['Id'] === 'string' ? { id: p['Id'] } : {}),
    loadState: String(p['LoadState']) as UnitState['loadState'],
    loadError,
    activeState,
    subState: String(p['SubState']),
    unitFileState,
    needDaemonReload: p['NeedDaemonReload'] === true,
    invocationID: hex(p['InvocationID']),
    // The main process reads its files when it starts, which may be long after ExecStartPre.
    startedAtMs: runs ? micros(p['ExecMainStartTimestamp']) || micros(p['InactiveExitTimestamp']) : 0,
    mainPID: Number(p['MainPID'] ?? 0),
    result: String(p['Result'] ?? 'success'),
    serviceType: String(p['Type'] ?? ''),
    fragmentPath: String(p['FragmentPath'] ?? ''),
    dropInPaths: Array.isArray(p['DropInPaths']) ? p['DropInPaths'].map(String) : [],
    restarts: Number(p['NRestarts'] ?? 0),
    inactiveSinceMs: micros(p['InactiveEnterTimestamp']),
    livedMs: runs ? undefined : livedMs(p),
    endedItself: !runs && endedItself(p),
    restartsAtMs:
      p['SubState'] === 'auto-restart' ? micros(p['InactiveEnterTimestamp']) + micros(p['RestartUSec']) : 0,
    skippedAtMs: skippedAtMs(p),
    freezer: String(p['FreezerState'] ?? ''),
  };
}

const CLD_KILLED = 2; // siginfo_t, sigaction(2)
const SIGTERM = 15;

/** From the start of the main process to its end; of units without one, from active to no longer active. */
function livedMs(p: Properties): number | undefined {
  const at = (name: keyof Properties): number => Number(p[name] ?? 0);
  const exit = at('ExecMainExitTimestampMonotonic');
  if (exit !== 0) return (exit - at('ExecMainStartTimestampMonotonic')) / 1000;
  const left = at('ActiveExitTimestampMonotonic');
  const entered = at('ActiveEnterTimestampMonotonic');
  // Older than the last start: that one ended before it became active, and before it had a main process.
  if (left < at('InactiveExitTimestampMonotonic')) return 0;
  return left === 0 ? undefined : (left - entered) / 1000;
}

/**
 * A stop makes the unit leave `active` first, and then ends the main process; the two times are of one clock. An
 * older ActiveExitTimestamp belongs to an earlier run. A run that never became active (a oneshot job, a service that
 * is not ready yet) left no such time: of it, the end by the signal that a stop sends counts as a stop, unless it took
 * too long to start.
 * systemd itself leaves `active` first, too, when a watchdog or the lack of memory ends a service.
 */
function endedItself(p: Properties): boolean {
  const at = (name: keyof Properties): number => Number(p[name] ?? 0);
  const exit = at('ExecMainExitTimestampMonotonic');
  if (exit === 0) return false;
  if (p['Result'] === 'watchdog' || p['Result'] === 'oom-kill') return true;
  // These stay active after their main process ended well; a stop ends that, or the end of their last process.
  const succeeded = p['Result'] === 'success' || at('ExecMainStatus') === 0;
  if ((p['RemainAfterExit'] === true || p['ExitType'] === 'cgroup') && succeeded) return false;
  const left = at('ActiveExitTimestampMonotonic');
  if (left >= at('ExecMainStartTimestampMonotonic')) return exit <= left;
  return (
    p['Result'] === 'timeout' || !(at('ExecMainCode') === CLD_KILLED && at('ExecMainStatus') === SIGTERM)
  );
}

/** Each result is of the unit's last start; false, too, where none was looked at. */
function skippedAtMs(p: Properties): number {
  if (p['ConditionResult'] !== true) return micros(p['ConditionTimestamp']);
  return p['AssertResult'] === true ? 0 : micros(p['AssertTimestamp']);
}

function hex(bytes: unknown): string {
  return Array.isArray(bytes) || Buffer.isBuffer(bytes) ? Buffer.from(bytes as number[]).toString('hex') : '';
}

/** Microseconds since 1970 as milliseconds. */
function micros(value: unknown): number {
  return value === undefined ? 0 : Math.floor(Number(value) / 1000);
}

const JOB_RESULTS: Readonly<Record<string, string>> = {
  canceled: 'another job took its place',
  timeout: 'it took longer than the unit allows',
  failed: 'it failed',
  dependency: 'a unit that it depends on failed',
  skipped: 'the unit does not apply in its present state',
  assert: 'an assertion of the unit failed',
  unsupported: 'this host does not support the unit type',
};

/** In words, why a job ended with another result than 'done'. */
export function jobFailed(job: UnitJob, unit: string, result: string): string {
  return `${job} of ${unit}: ${JOB_RESULTS[result] ?? result} (${result}); see journalctl -u ${unit}`;
}
