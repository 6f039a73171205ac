// What can befall a host's place in the fleet: how it enrols, what it has seen, and how it leaves.
import fs from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { until } from '../support/real-controller.ts';
import { SigningAgent } from '../support/signing-agent.ts';
import type { Cause } from './cause.ts';
import { answered, backUp, cause, check, hosts, says } from './state-support.ts';

const enrolments: Cause[] = [
  cause('it is killed right after each answer to an enrolment', async (c) => {
    for (let i = 0; i < 3; i++) {
      await c.start();
      const agent = await c.enrolled('pi');
      await c.end('SIGKILL');
      await c.start();
      await answered(agent, 200, 'what was answered is so');
      await c.end('SIGKILL');
    }
  }),
  cause('the answer to an enrolment is lost', async (c) => {
    await c.start();
    const agent = new SigningAgent(c, 'pi');
    const token = c.token('pi');
    await agent.enroll(token);
    await c.end('SIGKILL');
    await c.start();
    check((await agent.enroll(token)).status === 200, 'the same question is refused');
    check(
      (await new SigningAgent(c, 'pi').enroll(token)).status === 403,
      'another key got in with that token',
    );
    await answered(agent, 200, 'enrolled');
  }),
  cause('a host enrols again, and its new key is never used', async (c) => {
    await c.start();
    const agent = await c.enrolled('pi');
    const next = await c.enrolled('pi');
    await c.end('SIGKILL');
    await c.start();
    await answered(agent, 200, 'the key that works');
    await answered(next, 200, 'the new one, once it is used');
    await answered(agent, 401, 'the old one after that');
    await c.end('SIGKILL');
    await c.start();
    await answered(agent, 401, 'and after a restart');
  }),
  cause('homeostat enroll is told to write where it can’t', async (c) => {
    await c.start();
    const token = c.cli('token', 'create', '--host', 'pi', '--state', c.state).out.trim();
    const enroll = (config: string, state: string) =>
      c.cli(
        'enroll',
        '--controller',
        c.url,
        '--token',
        token,
        '--host',
        'pi',
        '--config',
        config,
        '--state',
        state,
      );
    const good = [path.join(c.folder, 'agent/agent.json'), path.join(c.folder, 'agent/state')] as const;
    fs.writeFileSync(path.join(c.folder, 'file'), '');
    for (const bad of ['/proc/nope/x', path.join(c.folder, 'file/x'), '/dev/null/x']) {
      for (const { code, out } of [enroll(path.join(bad, 'agent.json'), good[1]), enroll(good[0], bad)]) {
        check(
          code === 1 &&
            /can't be written, and the token was not used|Nothing can be made|nothing can be below it/.test(
              out,
            ),
          `${bad}: ${code} ${out}`,
        );
      }
    }
    check(!fs.existsSync(path.join(c.folder, 'agent')), 'something of it stayed');
    const { code, out } = enroll(...good);
    check(code === 0, `the token was used up: ${out}`);
  }),
];

const sequences: Cause[] = [
  cause('an old backup is restored, and agents have seen more', async (c) => {
    await c.start();
    const agent = await c.enrolled('pi');
    const copy = backUp(c);
    await c.serves(c.commit(hosts('pi', 'mac').replace('content: one', 'content: two')));
    const seen = (await agent.sequence()) + 100_000;
    await c.end('SIGKILL');
    for (const suffix of ['-wal', '-shm']) fs.rmSync(c.store + suffix, { force: true });
    fs.renameSync(copy, c.store);
    await c.start();
    await agent.report({ sequence: { desired: seen, attempted: seen, running: seen } });
    const raised = await agent.sequence();
    check(raised > seen, `it is sent ${raised}, and has seen ${seen}`);
    await c.end('SIGKILL');
    await c.start();
    check((await agent.sequence()) >= raised, 'the sequence went back with the restart');
  }),
  cause('a new controller takes over hosts that have seen much', async (c) => {
    await c.start();
    const agent = new SigningAgent(c, 'pi');
    const seen = Date.now() + 3600_000;
    check((await agent.enroll(c.token('pi'), seen)).status === 200, 'it can’t enrol');
    check((await agent.sequence()) > seen, 'what it is sent is below what it has seen');
  }),
];

const leaving: Cause[] = [
  cause('a host is forgotten by hand', async (c) => {
    await c.start();
    const agent = await c.enrolled('pi');
    const mac = await c.enrolled('mac');
    await agent.report();
    await c.serves(c.commit(hosts('mac')));
    const { code, out } = c.cli('forget', 'host', 'pi', '--state', c.state);
    check(code === 0 && /forgot pi/.test(out), out);
    await answered(agent, 401, 'its key is revoked at once');
    await answered(mac, 200, 'others are left alone');
    await until(
      'without its series',
      () => c.text('/metrics'),
      (text) => !text.includes('host="pi"'),
    );
    await c.end('SIGKILL');
    await c.start();
    await answered(agent, 401, 'and stays so');
    says(c.cli('forget', 'host', 'pi', '--state', c.state).out, /nothing is known of a host pi/);
    const db = new DatabaseSync(c.store);
    const entry = db.prepare("SELECT who FROM audit WHERE action = 'forget' AND subject = 'pi'").get();
    db.close();
    check(String(entry?.['who']).startsWith('cli:'), 'it is not in the audit log');
  }),
  cause('a host leaves git', async (c) => {
    await c.start(['--forget-after', '1s']);
    const agent = await c.enrolled('pi');
    await agent.report({ resources: [], mode: 'enforce' });
    c.commit(hosts('mac'));
    await until(
      'forgotten',
      () => c.log,
      (log) => log.includes('host forgotten'),
    );
    await answered(agent, 401, 'its key is gone');
    check(!(await c.text('/metrics')).includes('host="pi"'), 'its series are still there');
    check(!(await c.text('/')).includes('/hosts/pi'), 'it is still on the page');
  }),
  cause('commands are told a state that is none', async (c) => {
    const typo = path.join(c.folder, 'typo');
    for (const args of [
      ['token', 'list'],
      ['token', 'revoke', 'deadbeef'],
      ['forget', 'host', 'x'],
      ['keygen', '--lost'],
    ]) {
      const { code, out } = c.cli(...args, '--state', typo);
      check(
        code === 1 && out.includes(`there is no controller state at ${typo}`),
        `${args.join(' ')}: ${out}`,
      );
    }
    check(!fs.existsSync(typo), 'it was made');
  }),
];

export const hostCauses: readonly Cause[] = [...enrolments, ...sequences, ...leaving];
