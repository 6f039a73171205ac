// Names and tables by which it is judged what a container gets: images, addresses, mounts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AllowList } from '../../../agent/config.ts';
import { isGranted } from '../../../agent/reconcile/allow.ts';
import { hostAddress, isLoopback } from '../../../kinds/shared/addresses.ts';
import { fitsImage, resolvedImage } from '../../../kinds/shared/images.ts';
import { mountedBelow, namesOf, parseTable, placeOf } from '../../../kinds/shared/mount-table.ts';

test('an image has one name, however it is written', () => {
  for (const [written, name] of [
    ['nginx', 'docker.io/library/nginx:latest'],
    ['docker.io/nginx:1', 'docker.io/library/nginx:1'],
    ['index.docker.io/library/nginx:1', 'docker.io/library/nginx:1'],
    ['prom/prometheus:v3', 'docker.io/prom/prometheus:v3'],
    ['localhost/a', 'localhost/a:latest'],
    ['registry:5000/a/b', 'registry:5000/a/b:latest'],
    ['a/b:1@sha256:00', 'docker.io/a/b@sha256:00'],
  ] as const) {
    assert.equal(resolvedImage(written), name);
    assert.equal(resolvedImage(name), name);
  }
});

test('a grant of an image gives that one, and a star in it what fits in its part', () => {
  const fits = (image: string, grant: string) => fitsImage(image, grant);
  assert.ok(fits('docker.io/prom/prometheus:v3', 'prom/prometheus:v3'));
  assert.ok(fits('grafana/alloy:v1', 'grafana/alloy:*'));
  assert.ok(fits('registry:5000/team/x:1', 'registry:5000/team/*:*'));
  assert.ok(fits('grafana/alloy@sha256:00', 'grafana/alloy@*') === false, 'a digest has a colon');
  assert.ok(fits('grafana/alloy@sha256:00', 'grafana/alloy@sha256:*'));
  assert.ok(fits('anything/at:all', '*'));
  for (const image of [
    'grafana/alloy:v1@sha256:00',
    'grafana/alloy-evil:v1',
    'evil/grafana/alloy:v1',
    'evil.org/grafana/alloy:v1',
    'grafana/alloy/evil:v1',
  ]) {
    assert.ok(!fits(image, 'grafana/alloy:*'), image);
  }
  assert.ok(!fits('grafana/alloy:v1', 'grafana/alloy'), 'without a tag it is latest');
  assert.ok(!fits('registry:5000/x', 'registry:*'));
});

test('only loopback addresses need no grant, in any spelling', () => {
  for (const text of [
    '127.0.0.1',
    '127.255.0.1',
    '::1',
    '[::1]',
    '0:0::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
  ]) {
    assert.ok(isLoopback(hostAddress(text)), text);
  }
  for (const text of [
    '',
    '0.0.0.0',
    '::',
    '0::0',
    '::ffff:0.0.0.0',
    '::ffff:0:0',
    '0',
    '0.0',
    '0x7f000001',
    '127.1',
  ]) {
    assert.ok(!isLoopback(hostAddress(text)), text);
  }
  for (const text of [
    '0177.0.0.1',
    '127.0.0.1.evil',
    '127.0.0.256',
    '::127.0.0.1',
    '127.0.0.1%lo',
    '2130706433',
  ]) {
    assert.ok(!isLoopback(hostAddress(text)), text);
  }
  for (const text of ['', '0.0.0.0', '::ffff:0.0.0.0', '::ffff:0:0'])
    assert.equal(hostAddress(text), '0.0.0.0');
});

const HOST = `1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 0:5 / /run rw - tmpfs tmpfs rw
3 1 8:2 / /srv/big\\040disk ro - ext4 /dev/sdb1 ro
4 1 8:1 /var/lib/x /mnt/x rw - ext4 /dev/sda1 rw
5 2 0:9 / /run rw - tmpfs over rw`;

test('a table says what a path is, and by which paths a thing is known', () => {
  const host = parseTable(HOST);
  assert.deepEqual(placeOf(host, '/var/lib/x/y'), { device: '8:1', path: '/var/lib/x/y' });
  assert.deepEqual(placeOf(host, '/mnt/x/y'), { device: '8:1', path: '/var/lib/x/y' });
  assert.deepEqual(placeOf(host, '/srv/big disk/a'), { device: '8:2', path: '/a' });
  assert.deepEqual(placeOf(host, '/run/a'), { device: '0:9', path: '/a' }, 'the later one is on top');
  assert.deepEqual(namesOf(host, { device: '8:1', path: '/var/lib/x/y' }), ['/var/lib/x/y', '/mnt/x/y']);
  assert.deepEqual(namesOf(host, { device: '0:5', path: '/a' }), [], 'something is mounted over it');
  assert.deepEqual(namesOf(host, { device: '8:1', path: '/run/a' }), []);
  assert.deepEqual(
    mountedBelow(host, '/srv').map(({ point, readOnly }) => [point, readOnly]),
    [['/srv/big disk', true]],
  );
});

test('of what is wholly covered nothing is seen, as of /run in a mount of the whole host', () => {
  const seen = parseTable(`1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 0:5 / /host/run rw - tmpfs tmpfs rw
3 2 0:6 / /host/run/lock rw - tmpfs tmpfs rw
4 2 0:9 / /host/run ro - tmpfs tmpfs ro
5 4 0:7 / /host/run/later rw - tmpfs tmpfs rw`);
  assert.deepEqual(
    seen.map(({ id }) => id),
    ['1', '4', '5'],
  );
  assert.deepEqual(placeOf(seen, '/host/run/a'), { device: '0:9', path: '/a' });
});

test('the order of a table’s lines says nothing', () => {
  const lines = HOST.split('\n');
  fc.assert(
    fc.property(fc.shuffledSubarray(lines, { minLength: lines.length }), (shuffled) => {
      const host = parseTable(shuffled.join('\n'));
      assert.deepEqual(placeOf(host, '/run/a'), { device: '0:9', path: '/a' });
      assert.deepEqual(placeOf(host, '/srv/big disk/a'), { device: '8:2', path: '/a' });
    }),
  );
});

test('what holds the agent’s own is granted only where that is covered', () => {
  const allow = AllowList.parse({ mounts: ['/:ro', '/var/:rw'] });
  const grants = { allow, own: ['/var/lib/homeostat', '/run/homeostat/agent.sock'] };
  const mount = { type: 'mount', value: '/', mode: 'ro' } as const;
  assert.ok(!isGranted(mount, grants));
  assert.ok(!isGranted({ ...mount, covers: ['/var/lib/homeostat'] }, grants));
  assert.ok(isGranted({ ...mount, covers: grants.own }, grants));
  assert.ok(!isGranted({ ...mount, value: '/var/lib/homeostat', covers: grants.own }, grants));
  assert.ok(!isGranted({ ...mount, value: '/var/lib/homeostat/agent.key', covers: grants.own }, grants));
});
