import * as z from 'zod';
import { contentFields, Ref, SecretRef } from '../../api/documents.ts';
import { Manager, UnitName } from '../fields.ts';

const UnitText = z.strictObject({ ...contentFields });

export const ServiceSpec = z.strictObject({
  unit: UnitName,
  /** Who runs it: systemd (default), or the agent itself, for the demo and containers only. */
  manager: Manager.optional(),
  /** The whole unit file, at /etc/systemd/system/UNIT; without it the unit is somebody else's, as a package's. */
  unitFile: UnitText.optional(),
  /** By name, in /etc/systemd/system/UNIT.d/. */
  dropIns: z
    .record(
      z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*\.conf$/, 'a drop-in is named as in 10-memory.conf'),
      UnitText,
    )
    .optional(),
  /** What others put below /etc and /run to change this unit is removed; without it, it is only told. */
  exclusive: z.boolean().optional(),
  /** Whether it starts at boot; as it is when left out. */
  enabled: z.boolean().optional(),
  /** Whether it is kept from being started at all; default false, so a mask is taken off. */
  masked: z.boolean().optional(),
  /** Default: running. `unmanaged` leaves it to others when it runs, as to its timer: it is neither started nor stopped. */
  state: z.enum(['running', 'stopped', 'unmanaged']).optional(),
  /** Resources that its process reads when it starts: it is restarted when one was changed after that. */
  restartOn: z.array(Ref).optional(),
  /** For `manager: supervised`: the program, absolute, and its arguments. */
  command: z.array(z.string()).min(1).optional(),
  /** Its variables beside PATH and HOME; a value may be a secret. */
  env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.union([z.string(), SecretRef])).optional(),
});
export type ServiceSpec = z.infer<typeof ServiceSpec>;
