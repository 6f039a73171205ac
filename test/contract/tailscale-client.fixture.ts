import { systemClock } from '../../agent/providers/clock.ts';
import { tailscaleClient } from '../../kinds/tailscale-client/index.ts';
import { FakeTailscale } from '../support/fake-tailscale.ts';
import type { Fixture } from './fixture.ts';

export const tailscaleClientFixture: Fixture = {
  kind: tailscaleClient,
  open() {
    const tailscale = new FakeTailscale();
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
      fingerprint: () => JSON.stringify(tailscale.current),
    };
  },
};
