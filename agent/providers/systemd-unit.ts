// What systemd says of a unit, as our UnitState. Pure. Properties: org.freedesktop.systemd1(5).
import type { UnitState } from '../../kinds/ports.ts';

export const UNIT = 'org.freedesktop.systemd1.Unit';
export const SERVICE = 'org.freedesktop.systemd1.Service';

export const SERVICE_PROPERTIES = ['MainPID', 'Result', 'Type', 'ExecMainStartTimestamp'] as const;

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

export function fromProperties(p: Readonly<Record<string, unknown>>, unitFileState: string): UnitState {
  const activeState = String(p['ActiveState']) as UnitState['activeState'];
  const [, loadError] = (p['LoadError'] ?? ['', '']) as [string, string];
  const runs = activeState !== 'inactive' && activeState !== 'failed' && p['SubState'] !== 'auto-restart';
  return {
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
  };
}

function hex(bytes: unknown): string {
  return Array.isArray(bytes) || Buffer.isBuffer(bytes) ? Buffer.from(bytes as number[]).toString('hex') : '';
}

/** Microseconds since 1970 as milliseconds. */
function micros(value: unknown): number {
  return value === undefined ? 0 : Math.floor(Number(value) / 1000);
}
