import { systemClock } from '../../agent/providers/clock.ts';
import { tailscaleClient } from '../../kinds/tailscale-client/index.ts';
import { FakeTailscale } from '../support/fake-tailscale.ts';
import type { Fixture } from './fixture.ts';

export const tailscaleClientFixture: Fixture = {
  kind: tailscaleClient,
  open() {
    const tailscale = new FakeTailscale();
    const well = tailscale.node;
    /** tailscaled's state changes, and comes back. */
    const node = (now: Partial<typeof well>) => ({
      harm: () => tailscale.become({ ...well, ...now }),
      repair: () => tailscale.become(well),
    });
    const answer = (metrics: FakeTailscale['metrics']) => ({
      harm: () => {
        tailscale.metrics = metrics;
      },
      repair: () => {
        tailscale.metrics = 'well';
      },
    });
    return {
      ports: { tailscale, http: tailscale.http, clock: systemClock },
      specs: [
        { webclient: true, prefs: { hostname: 'pi', reportPosture: true } },
        { webclient: false, prefs: { hostname: 'raspberry' } },
      ],
      breakages: {
        'webclient off': () => tailscale.change({ RunWebClient: false }),
        renamed: () => tailscale.change({ Hostname: 'other' }),
        'name given back': () => tailscale.change({ Hostname: '' }),
        'posture off': () => tailscale.change({ PostureChecking: false }),
      },
      unwell: {
        'nobody listens on :5252': answer('refused'),
        ':5252 does not answer': answer('silent'),
        ':5252 answers an error': answer('error'),
        ':5252 answers something else': answer('other'),
        'logged out': node({ backendState: 'NeedsLogin', addresses: [] }),
        'tailscale down': node({ backendState: 'Stopped' }),
        'no address yet': node({ addresses: [] }),
      },
      fingerprint: () => JSON.stringify(tailscale.current),
    };
  },
};
