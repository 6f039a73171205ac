// The preferences that a TailscaleClient keeps, as they are.
import { inWords } from '../../../api/errors.ts';
import type { Tailscale } from '../../../kinds/ports.ts';
import { type Gathered, NOTHING, nameFor } from './draft.ts';

/** @returns the host's first tailnet address, too. */
export async function gatherTailscale(
  host: string,
  tailscale: Tailscale,
): Promise<Gathered & { readonly address?: string }> {
  try {
    const [prefs, status] = await Promise.all([tailscale.prefs(), tailscale.status()]);
    const webclient = prefs['RunWebClient'] === true;
    const hostname = prefs['Hostname'];
    const named = typeof hostname === 'string' && hostname !== '';
    const spec = { webclient, ...(named ? { prefs: { hostname } } : {}) };
    const [address] = status.addresses;
    return {
      drafts: [
        {
          kind: 'TailscaleClient',
          name: nameFor('tailscale', host),
          file: `${host}/tailscale.yaml`,
          hosts: [host],
          spec,
          remarks: webclient
            ? []
            : ['webclient: true would serve /metrics on the Tailscale address, port 5252.'],
        },
      ],
      notes: [],
      ...(address === undefined ? {} : { address }),
    };
  } catch (error) {
    const message = inWords(error);
    return /no tailscaled|ENOENT|no program/.test(message)
      ? NOTHING
      : {
          drafts: [],
          notes: [`tailscaled could not be asked, so its preferences were left out: ${message}`],
        };
  }
}
