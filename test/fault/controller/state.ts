// What can befall the controller's state: its store, its disk, its directory and its key.
import fs from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { until } from '../support/real-controller.ts';
import { SigningAgent } from '../support/signing-agent.ts';
import type { Cause } from './cause.ts';
import { answered, backUp, cause, check, contents, hosts, says } from './state-support.ts';

/** At the start: refused with a sentence, nothing touched, and what comes back is read. */
function atStart(name: string, damage: (store: string) => void, says_: RegExp): Cause {
  return cause(`at its start the store is ${name}`, async (c) => {
    await c.start();
    const agent = await c.enrolled('pi');
    await c.end('SIGKILL');
    const saved = `${c.folder}/saved`;
    fs.cpSync(c.state, saved, { recursive: true });
    for (const suffix of ['-wal', '-shm']) fs.rmSync(c.store + suffix, { force: true });
    damage(c.store);
    const before = contents(c);
    says(await c.refuses(), says_);
    says(c.cli('token', 'create', '--host', 'x', '--state', c.state).out, says_);
    check(contents(c) === before, 'the store was touched');
    fs.rmSync(c.state, { recursive: true });
    fs.renameSync(saved, c.state);
    await c.start();
    await answered(agent, 200, 'what came back is read');
  });
}

const starts: Cause[] = [
  atStart('no database', (store) => fs.writeFileSync(store, 'rubbish'.repeat(1000)), /is damaged/),
  atStart('emptied', (store) => fs.truncateSync(store, 0), /is empty: restore/),
  atStart('cut in half', (store) => fs.truncateSync(store, 4096 * 4), /is damaged/),
  cause('at its start the store can’t be read, as a disk that is not mounted', async (c) => {
    await c.start();
    const agent = await c.enrolled('pi');
    await c.end('SIGKILL');
    fs.renameSync(c.state, `${c.folder}/disk`);
    fs.writeFileSync(c.state, '');
    says(await c.refuses(), /can't be (locked|opened)|It is a file: name a directory/);
    fs.rmSync(c.state);
    fs.renameSync(`${c.folder}/disk`, c.state);
    await c.start();
    await answered(agent, 200, 'what came back is read');
  }),
  cause('it is killed at any moment of its first start', async (c) => {
    for (let ms = 100; ms <= 1000; ms += 150) {
      const starting = c.start().catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, ms));
      await c.end('SIGKILL');
      await starting;
    }
    await c.start();
    await answered(await c.enrolled('pi'), 200, 'after seven kills');
  }),
];

const running: Cause[] = [
  cause('its store is removed while it runs', async (c) => {
    await c.start();
    const agent = await c.enrolled('pi');
    const spare = c.token('mac');
    for (const suffix of ['', '-wal', '-shm']) fs.rmSync(c.store + suffix, { force: true });
    await until(
      'recovered',
      () => c.log,
      (log) => log.includes('written again from the open one'),
    );
    await c.isWell();
    await c.end('SIGKILL');
    await c.start();
    await answered(agent, 200, 'nothing was lost');
    const mac = new SigningAgent(c, 'mac');
    check((await mac.enroll(spare)).status === 200, 'a token was lost, which is in no memory');
  }),
  cause('the directory of its state goes away and comes back', async (c) => {
    await c.start();
    const agent = await c.enrolled('pi');
    fs.renameSync(c.state, `${c.state}-away`);
    await c.reports(/is gone, or another one is in its place/);
    await answered(agent, 200, 'what is known is served');
    check(!fs.existsSync(c.state), 'another one was made in its place');
    fs.renameSync(`${c.state}-away`, c.state);
    await c.isWell();
    await c.end('SIGKILL');
    await c.start();
    await answered(agent, 200, 'and it has lost nothing');
  }),
  cause('a backup is put into place while it runs', async (c) => {
    await c.start();
    const agent = await c.enrolled('pi');
    const copy = backUp(c);
    const late = await c.enrolled('mac');
    await c.serves(c.commit(hosts('pi', 'mac').replace('content: one', 'content: two')));
    const before = await agent.sequence();
    fs.renameSync(copy, c.store);
    await until(
      'read',
      () => c.log,
      (log) => log.includes('another copy of the store'),
    );
    await answered(agent, 200, 'what came back is read');
    await answered(late, 401, 'and not written over from memory');
    check((await agent.sequence()) > before, 'the sequence went back');
    await c.isWell();
    await c.end('SIGKILL');
    await c.start();
    check((await agent.sequence()) > before, 'the sequence went back with the restart');
  }),
  cause('another controller’s store is put into place while it runs', async (c) => {
    await c.start();
    const agent = await c.enrolled('pi');
    const other = path.join(c.folder, 'other');
    c.cli('token', 'create', '--host', 'x', '--state', other);
    fs.renameSync(path.join(other, 'controller.sqlite'), c.store);
    const before = fs.readFileSync(c.store, 'latin1');
    await c.reports(/another controller's store/);
    await answered(agent, 200, 'what is known is served');
    await c.end('SIGTERM');
    check(fs.readFileSync(c.store, 'latin1') === before, 'it was written');
  }),
  cause('its store is emptied in place while it runs', async (c) => {
    await c.start();
    const agent = await c.enrolled('pi');
    const copy = backUp(c);
    fs.truncateSync(c.store, 0);
    await c.reports(/was emptied|is damaged/);
    await answered(agent, 200, 'what is known is served');
    await c.end('SIGKILL');
    says(await c.refuses(), /is empty: restore/);
    for (const suffix of ['-wal', '-shm']) fs.rmSync(c.store + suffix, { force: true });
    fs.renameSync(copy, c.store);
    await c.start();
    await answered(agent, 200, 'with its backup');
  }),
  cause('another process writes for long', async (c) => {
    await c.start();
    const agent = await c.enrolled('pi');
    const token = c.token('mac');
    const other = new DatabaseSync(c.store);
    other.exec('BEGIN IMMEDIATE');
    const mac = new SigningAgent(c, 'mac');
    const enrolling = mac.enroll(token);
    // A loop that is blocked answers none of these before the lock is gone, and it goes only after them.
    for (let i = 0; i < 10; i++) await answered(agent, 200, 'while the store is locked');
    other.exec('ROLLBACK');
    other.close();
    check((await enrolling).status === 200, 'the enrolment did not wait for the other');
    await c.isWell();
  }),
];

const disks: Cause[] = [
  cause('its disk is full', async (c) => {
    await c.startOnOwnDisk('size=2m');
    const agent = await c.enrolled('pi');
    const token = c.token('mac');
    c.onDisk('dd if=/dev/zero of=filler bs=4k 2>/dev/null; true');
    c.commit(hosts('pi', 'mac', ...Array.from({ length: 300 }, (_, i) => `h${i}`)));
    await c.reports(/can't be written.*(full|disk)/);
    await answered(agent, 200, 'what is known is served');
    const mac = new SigningAgent(c, 'mac');
    const refused = await mac.enroll(token);
    check([200, 503].includes(refused.status), `the enrolment is answered ${refused.status}`);
    c.onDisk('rm filler');
    await c.isWell();
    check((await mac.enroll(token)).status === 200, 'the token was lost');
    await answered(mac, 200, 'enrolled once there is room');
  }),
  cause('at its start its disk is read-only', async (c) => {
    await c.start();
    const agent = await c.enrolled('pi');
    await c.end('SIGTERM');
    const readOnly = `mount --bind ${c.state} ${c.state} && mount -o remount,ro,bind ${c.state} && exec "$@"`;
    const said = await c.refuses([], ['unshare', '--mount', 'sh', '-c', readOnly, 'sh']);
    says(said, /can't be opened .*writable for this user/);
    await c.start();
    await answered(agent, 200, 'once it can be written');
  }),
];

const locks: Cause[] = [
  cause('a second controller is started on the same state', async (c) => {
    await c.start();
    const agent = await c.enrolled('pi');
    const { pid } = c;
    const second = c.beside();
    says(
      await second.refuses(),
      new RegExp(`another controller uses the state directory .*process ${pid} on`),
    );
    await answered(agent, 200, 'the first one serves on');
    await c.end('SIGKILL');
    await second.start();
    await second.end('SIGTERM');
  }),
  cause('a second controller is started in a container that shares the state', async (c) => {
    await c.start();
    const second = c.beside();
    const container = ['unshare', '--pid', '--fork', '--mount-proc', '--uts', '--net', '--ipc'];
    says(await second.refuses([], container), /another controller uses the state directory/);
    await c.end('SIGKILL');
  }),
  cause('the file of its lock is removed', async (c) => {
    await c.start();
    fs.rmSync(path.join(c.state, 'controller.lock'));
    await until('locked again', () => fs.existsSync(path.join(c.state, 'controller.lock')), Boolean);
    says(await c.beside().refuses(), /another controller uses/);
  }),
];

const keys: Cause[] = [
  cause('its signing key is lost', async (c) => {
    await c.start();
    const agent = await c.enrolled('pi');
    await c.end('SIGKILL');
    fs.renameSync(c.key, `${c.folder}/key`);
    const gone = /is gone, and 1 host trust it: restore it from a backup.*keygen --lost/;
    says(await c.refuses(), gone);
    says(c.cli('token', 'create', '--host', 'pi', '--state', c.state).out, gone);
    says(c.cli('keygen', '--state', c.state).out, gone);
    check(!fs.existsSync(c.key), 'it was replaced');
    fs.renameSync(`${c.folder}/key`, c.key);
    await c.start();
    await answered(agent, 200, 'with its key');
  }),
  cause('its signing key is removed while it runs', async (c) => {
    await c.start();
    const agent = await c.enrolled('pi');
    fs.rmSync(c.key);
    await until('written again', () => fs.existsSync(c.key), Boolean);
    await c.end('SIGKILL');
    await c.start();
    await answered(agent, 200, 'with the same key');
  }),
  cause('its signing key is lost for good', async (c) => {
    await c.start();
    await c.enrolled('pi');
    await c.end('SIGKILL');
    fs.rmSync(c.key);
    says(c.cli('keygen', '--lost', '--state', c.state).out, /every host must enrol again|signing key/);
    await c.start();
    await answered(await c.enrolled('pi'), 200, 'enrolled anew');
  }),
  cause('its signing key is replaced by another', async (c) => {
    await c.start();
    await c.enrolled('pi');
    await c.end('SIGKILL');
    fs.rmSync(c.key);
    c.cli('keygen', '--state', path.join(c.folder, 'elsewhere'));
    fs.copyFileSync(path.join(c.folder, 'elsewhere/controller.key'), c.key);
    says(await c.refuses(), /is not the one that 1 host trust/);
  }),
];

export const stateCauses: readonly Cause[] = [...starts, ...running, ...disks, ...locks, ...keys];
