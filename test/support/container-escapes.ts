// Ways out of what a host's owner granted to containers, as a controller that was taken over may send them. Each names what
// the refusal has to say.
import fs from 'node:fs';
import path from 'node:path';

/** @returns the source of a bind mount; `at` names a path in a directory of which `app/` is granted, read and write. */
export const LEADS_OUT: readonly [
  name: string,
  make: (at: (name: string) => string) => string,
  words: RegExp,
][] = [
  ['a link to /', (at) => linked('/', at('app/x')), /NotAllowed .*mount \/:ro/],
  [
    'a link on the way',
    (at) => path.join(linked('/etc', at('app/x')), 'ssl'),
    /NotAllowed .*mount \/etc\/ssl:ro/,
  ],
  [
    'a link to a link',
    (at) => linked(linked('/root', at('app/y')), at('app/x')),
    /NotAllowed .*mount \/root:ro/,
  ],
  ['a relative link', (at) => linked('../../../../../etc', at('app/x')), /NotAllowed .*mount \/etc:ro/],
  ['a link through /proc', (at) => linked('/proc/self/root', at('app/x')), /NotAllowed .*mount \//],
  [
    'what is not there behind a link',
    (at) => path.join(linked('/opt', at('app/x')), 'new'),
    /mount \/opt\/new:ro/,
  ],
  ['a link that dangles', (at) => linked('/opt/none', at('app/x')), /NotAllowed .*mount \/opt\/none:ro/],
  ['/ itself', () => '/', /NotAllowed .*mount \/:ro/],
  ['the agent’s own state', (at) => at('state'), /NotAllowed .*agent’s own/],
  ['a link to the agent’s own state', (at) => linked(at('state'), at('app/x')), /NotAllowed .*agent’s own/],
  [
    'a directory above the agent’s own',
    (at) => at(''),
    /root-equivalent mount:\S+:ro .*agent’s own, which is covered/,
  ],
];
function linked(to: string, link: string): string {
  fs.symlinkSync(to, link);
  return link;
}

/** Fields of a Container on a host that grants its image `test/app:1`, and nothing else. */
export const GRANTS_NEEDED: readonly [name: string, spec: object, words: RegExp][] = [
  ['a port without an address', { ports: ['9090:9090'] }, /capability publish:0\.0\.0\.0/],
  ['a mapped address', { ports: ['[::ffff:0.0.0.0]:90:90'] }, /capability publish:0\.0\.0\.0/],
  ['a mapped address in hex', { ports: ['[::ffff:0:0]:90:90'] }, /capability publish:0\.0\.0\.0/],
  ['every IPv6 address', { ports: ['[0::0]:90:90'] }, /capability publish:::/],
  ['an address of the network', { ports: ['100.64.0.8:90:90'] }, /capability publish:100\.64\.0\.8/],
  ['privileged', { privileged: true }, /root-equivalent privileged:app/],
  ['the host’s processes', { pid: 'host' }, /root-equivalent pid:host:app/],
  ['a capability', { capAdd: ['NET_ADMIN'] }, /capability CAP_NET_ADMIN/],
  [
    'a capability that is root',
    { capAdd: ['CHECKPOINT_RESTORE'] },
    /root-equivalent capability:CAP_CHECKPOINT_RESTORE/,
  ],
  ['a device', { devices: ['/dev/null:/dev/x'] }, /root-equivalent device:\/dev\/null/],
  ['a device by another way', { devices: ['/dev/../dev/zero'] }, /root-equivalent device:\/dev\/zero/],
  ['the processor before others', { ulimits: { rtprio: 99 } }, /capability ulimit:rtprio/],
  ['logs to elsewhere', { logging: { driver: 'syslog' } }, /capability logging:syslog/],
  [
    'options for another driver',
    { logging: { options: { 'gelf-address': 'udp://10.0.0.1:1' } } },
    /capability logging:default/,
  ],
  [
    'a password for a registry',
    { registry: { username: 'x', password: { secretFrom: { env: 'HOME' } } } },
    /url https:\/\/docker\.io/,
  ],
  ['the host’s network', { network: 'host' }, /capability network:host/],
  ['another container’s network', { network: 'container:db' }, /capability network:container:db/],
  ['another project’s network', { network: 'db_default' }, /capability network:db_default/],
  [
    'another project’s network beside its own',
    { networks: [{ name: 'db_default' }] },
    /capability network:db_default/,
  ],
  ['a label that steers', { labels: { 'traefik.enable': 'true' } }, /capability label:traefik\.enable/],
  ['another person’s container', { adopt: true }, /capability adopt:app/],
  ['another tag', { image: 'test/app:2' }, /image docker\.io\/test\/app:2/],
  ['a digest', { image: `test/app:1@sha256:${'0'.repeat(64)}` }, /image docker\.io\/test\/app@sha256:0/],
  ['another registry', { image: 'evil.example.org/test/app:1' }, /image evil\.example\.org\/test\/app:1/],
];
/**
 * Fields of a service that is added to a project `outN` with the volumes `bound` (a device: /etc) and `named`, on a host
 * that grants the image `stack/service:1` and our part of the project.
 */
export const SERVICES_NEEDING_GRANTS: readonly [name: string, part: object, words: RegExp][] = [
  ['a variable that climbs', { volumes: ['./${X:-../../../etc}:/x'] }, /secret compose:\S+:X/],
  ['a path that climbs', { volumes: ['../../etc/../../../etc:/x:ro'] }, /mount \/etc:ro/],
  ['the home of root', { volumes: ['~/.ssh:/x:ro'] }, /mount \S+\.ssh:ro/],
  ['/', { volumes: ['/:/x:ro'] }, /mount \/:ro .*agent’s own/],
  ['a volume with a device', { volumes: ['bound:/x'] }, /mount \/etc:rw.*mount out\d+_bound:rw/],
  ['a volume of theirs', { volumes: ['named:/x'] }, /mount out\d+_named:rw/],
  ['a port without an address', { ports: ['9090:9090'] }, /capability publish:0\.0\.0\.0/],
  ['a port alone', { ports: ['9090'] }, /capability publish:0\.0\.0\.0/],
  ['a range', { ports: ['9000-9003:9000-9003/udp'] }, /capability publish:0\.0\.0\.0/],
  ['a mapped address', { ports: ['[::ffff:0.0.0.0]:90:90'] }, /capability publish:0\.0\.0\.0/],
  ['every IPv6 address', { ports: ['[::]:90:90'] }, /capability publish:::/],
  ['an address of the network', { ports: ['100.64.0.8:90:90'] }, /capability publish:100\.64\.0\.8/],
  ['a variable as address', { ports: ['${X:-0.0.0.0}:9:9'] }, /secret compose:\S+:X/],
  ['a variable of theirs', { environment: { A: 'x${SECRET}' } }, /secret compose:\S+:SECRET/],
  ['the host’s network', { network_mode: 'host' }, /capability network:host/],
  ['another container’s processes', { pid: 'container:db' }, /capability pid:container:db/],
  ['the host’s processes', { pid: 'host' }, /root-equivalent pid:host:side/],
  ['privileged', { privileged: true }, /root-equivalent privileged:side/],
  ['a capability in lower case', { cap_add: ['sys_admin'] }, /root-equivalent capability:CAP_SYS_ADMIN/],
  [
    'no seccomp',
    { security_opt: ['seccomp:unconfined'] },
    /root-equivalent security:seccomp=unconfined:side/,
  ],
  ['a device', { devices: ['/dev/null:/dev/x'] }, /root-equivalent device:\/dev\/null/],
  ['logs to elsewhere', { logging: { driver: 'syslog' } }, /capability logging:syslog/],
  [
    'options for another driver',
    { logging: { options: { 'gelf-address': 'udp://10.0.0.1:1' } } },
    /capability logging:default/,
  ],
  ['the network of a service', { network_mode: 'service:web' }, /capability network:service:web/],
  ['a label that steers', { labels: { 'traefik.enable': true } }, /capability label:traefik\.enable/],
  ['another image', { image: 'docker.io/stack/service:2' }, /image docker\.io\/stack\/service:2/],
];
