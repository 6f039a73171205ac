// Units that a manifest names: which they really are.
import type { Permission } from '../kind.ts';
import type { Units } from '../ports.ts';

/** By the name that systemd knows it by, where the manifest's is an alias of it. */
export async function unitPermissions(
  units: Units,
  unit: string,
  signal: AbortSignal,
  why?: string,
): Promise<Permission[]> {
  const { id = unit } = await units.show(unit, signal);
  const because = id === unit ? why : `${unit} is another name of it`;
  return [{ type: 'unit', value: id || unit, ...(because === undefined ? {} : { why: because }) }];
}
