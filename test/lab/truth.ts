// A green word for a red host is the worst defect there is. Each host is broken in ten ways that leave files, units and
// documents as the manifests say, and what is said of it on the terminal and on the controller's page is shown: never
// Ready within one resync, nor after a restart of the agent; and Ready again once it was repaired by hand.
import assert from 'node:assert/strict';
import * as z from 'zod';
import { GOOD_STATES, HOST_STATES, messageOf, resourceReason, resourceState } from '../../api/health.ts';
import type { LabHost } from './host.ts';
import { allReady, statusOf, until } from './steps.ts';

/** What the page is made of. */
const HostAnswer = z.object({ state: z.enum(HOST_STATES), reason: z.string() });

interface Way {
  readonly name: string;
  /** Kind whose resource has to say it. */
  readonly kind: string;
  readonly harm: string;
  readonly repair: string;
}

const PROGRAM = '/usr/bin/alloy';
const OTHER = '/run/other-alloy';
/** Of one that does not run at the moment it is 0, which would be everybody in this group. */
const MAIN = 'pid=$(systemctl show --property=MainPID --value alloy); test $pid -gt 1 && kill -9 $pid';
const AS_BEFORE = `umount ${PROGRAM}; systemctl reset-failed alloy; systemctl restart alloy`;
const inItsPlace = (script: string): string =>
  `printf '#!/bin/sh\\n${script}\\n' > ${OTHER} && chmod 755 ${OTHER} && mount --bind ${OTHER} ${PROGRAM} && { ${MAIN}; }`;
const firewall = (rule: string): Pick<Way, 'harm' | 'repair'> => ({
  harm: `iptables --insert INPUT ${rule}`,
  repair: `iptables --delete INPUT ${rule}`,
});
const FAILED = 'test "$(systemctl is-failed alloy)" = failed';

const WAYS: readonly Way[] = [
  {
    name: 'alloy is frozen',
    kind: 'Service',
    harm: 'systemctl freeze alloy',
    repair: 'systemctl thaw alloy',
  },
  {
    name: 'alloy is stopped by a signal, and answers nobody',
    kind: 'AlloyConfig',
    harm: 'kill -STOP $(systemctl show --property=MainPID --value alloy)',
    repair: 'kill -CONT $(systemctl show --property=MainPID --value alloy)',
  },
  {
    name: 'another program in alloy’s place, which ends at once',
    kind: 'Service',
    harm: inItsPlace('exit 3'),
    repair: AS_BEFORE,
  },
  {
    name: 'another program in alloy’s place, which does nothing',
    kind: 'AlloyConfig',
    harm: inItsPlace('exec sleep infinity'),
    repair: AS_BEFORE,
  },
  {
    name: 'alloy is killed until systemd gives it up',
    kind: 'Service',
    harm: `for i in $(seq 200); do { ${MAIN}; } 2>/dev/null; ${FAILED} && break; sleep 0.05; done; ${FAILED}`,
    repair: 'systemctl reset-failed alloy; systemctl start alloy',
  },
  {
    name: 'a firewall refuses alloy’s port',
    kind: 'AlloyConfig',
    ...firewall('--protocol tcp --dport 12345 --jump REJECT --reject-with tcp-reset'),
  },
  {
    name: 'a firewall drops what is sent to alloy’s port',
    kind: 'AlloyConfig',
    ...firewall('--protocol tcp --dport 12345 --jump DROP'),
  },
  {
    name: 'a firewall refuses the port of the client metrics',
    kind: 'TailscaleClient',
    ...firewall('--protocol tcp --dport 5252 --jump REJECT --reject-with tcp-reset'),
  },
  {
    name: 'somebody names the repository again, with another keyring',
    kind: 'AptRepository',
    harm: 'cp /etc/apt/keyrings/grafana.gpg /etc/apt/keyrings/theirs.gpg && echo "deb [signed-by=/etc/apt/keyrings/theirs.gpg] $(sed -n s/^URIs:.//p /etc/apt/sources.list.d/grafana.sources) stable main" > /etc/apt/sources.list.d/theirs.list',
    repair: 'rm /etc/apt/sources.list.d/theirs.list /etc/apt/keyrings/theirs.gpg',
  },
  {
    name: 'the system bus is stopped',
    kind: 'Service',
    harm: 'systemctl stop dbus.socket dbus.service',
    repair: 'systemctl start dbus.socket dbus.service',
  },
];

/** @param page reads a path of the controller's operator API. */
export async function saysWhatIs(host: LabHost, page: (path: string) => Promise<string>): Promise<void> {
  const shell = (command: string) => host.exec(['sh', '-c', command], { check: true, timeout: 60_000 });
  for (const { name, kind, harm, repair } of WAYS) {
    await allReady(host, 120_000);
    await shell(harm);
    try {
      await host.exec(['homeostat', 'reconcile']);
      const words = await notGreen(host, kind, name);
      await until(`the page’s word for ${host.name}: ${name}`, async () => {
        const { state, reason } = HostAnswer.parse(JSON.parse(await page(`/v1/hosts/${host.name}`)));
        words.page = `${state}: ${reason}`;
        return !GOOD_STATES.has(state);
      });
      await shell('systemctl restart homeostat-agent');
      const later = await notGreen(host, kind, `${name}, after a restart of the agent`);
      console.log(`  ${host.name}: ${name}`);
      console.log(`      terminal  ${words.terminal}`);
      console.log(`      page      ${words.page}`);
      console.log(`      restarted ${later.terminal}`);
    } finally {
      await shell(repair);
    }
    await host.exec(['homeostat', 'reconcile']);
  }
  await allReady(host, 120_000);
}

/** The resource's word, once it was looked at; not Ready, and not by being looked at again. */
async function notGreen(
  host: LabHost,
  kind: string,
  what: string,
): Promise<{ terminal: string; page: string }> {
  let terminal = '';
  let looks = 0;
  await until(`${host.name}: ${what}`, async () => {
    const { at, resources } = await statusOf(host);
    const resource = resources.find(({ key }) => key.startsWith(`${kind}/`));
    if (resource === undefined || resource.conditions.every(({ type }) => type !== 'Ready')) return false;
    if (resourceState(resource.conditions, at) === 'Ready') {
      assert.equal(looks, 0, `${host.name}: ${what}: ${resource.key} became Ready by being looked at`);
      return false;
    }
    terminal = `${resource.key} ${resourceReason(resource.conditions)}: ${messageOf(resource)}`;
    looks += 1;
    await host.exec(['homeostat', 'reconcile', resource.key]);
    return looks > 3;
  });
  return { terminal: terminal.split('\n')[0]!.slice(0, 200), page: '' };
}
