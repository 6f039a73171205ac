import * as z from 'zod';
import { Address } from '../fields.ts';

export const TailscaleClientSpec = z.strictObject({
  /** `tailscale set --webclient`: serves /metrics on the Tailscale addresses, port 5252. */
  webclient: z.boolean().optional(),
  /**
   * Other preferences. Only those that can't cut the host off: what does (ssh, shields-up, routes, exit node, DNS)
   * needs commit-confirm first.
   */
  prefs: z
    .strictObject({
      /** The name in the tailnet; '' for the operating system's. */
      hostname: z
        .string()
        .regex(
          /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)?$/,
          'a host name has lower-case letters, digits and "-"',
        )
        .optional(),
      /** Lets the control server ask for serial numbers and the like. */
      reportPosture: z.boolean().optional(),
    })
    .optional(),
  metrics: z
    .strictObject({
      /** Whether /metrics must answer before a change counts as good; default true. */
      check: z.boolean().optional(),
      /** Default: the node's first Tailscale address, port 5252. */
      address: Address.optional(),
    })
    .optional(),
  /** Days ahead in which the node key's expiry is reported; default 14. */
  keyExpiryWarningDays: z.int().min(1).max(365).optional(),
});
export type TailscaleClientSpec = z.infer<typeof TailscaleClientSpec>;
