// `homeostat token`: lets hosts enrol, and operators read. Works on the controller's store, beside a running
// controller or before its first start.
import { join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { Name } from '../api/documents.ts';
import { formatToken } from '../api/enroll.ts';
import { addKey, readKeys } from '../controller/fleet/keys.ts';
import { Database } from '../controller/store/database.ts';
import { Store } from '../controller/store/store.ts';
import { type Token, Tokens } from '../controller/store/tokens.ts';
import { KEY_FILE, STATE_OPTION, STORE_FILE } from './controller.ts';
import { table } from './table.ts';

interface State {
  readonly state: string;
}

export function register(program: Command): void {
  const token = program.command('token').description('make, list and revoke tokens');
  token
    .command('create')
    .description('print a token; it can’t be shown again')
    .option('--host <name>', 'one-time token with which this host enrols')
    .option('--operator <name>', 'bearer token with which a person or program reads the fleet’s state')
    .option('--ttl <duration>', 'how long it is good: 30m, 1h, 7d; default 1h, for operators 90d', duration)
    .option(...STATE_OPTION)
    .addHelpText(
      'after',
      '\nThe token is the only line on standard output. Exit codes: 0 printed, 1 it could not be stored.',
    )
    .action(create);
  token
    .command('list')
    .description('show tokens without their secrets')
    .option('-o, --output <format>', 'json, or a table')
    .option(...STATE_OPTION)
    .action(({ state, output }: State & { output?: string }) => {
      withStore(state, (tokens) => {
        const all = tokens.list();
        if (output === 'json') console.log(JSON.stringify(all, null, 2));
        else if (all.length === 0) console.log('there are no tokens');
        else
          console.log(
            table(
              ['ID', 'FOR', 'STATE', 'EXPIRES'],
              all.map((t) => [t.id, `${t.purpose} ${t.subject}`, stateOf(t), iso(t.expiresAt)]),
            ),
          );
      });
    });
  token
    .command('revoke')
    .description('make a token worthless')
    .argument('<id>', 'as token list shows it')
    .option(...STATE_OPTION)
    .action((id: string, { state }: State) => {
      withStore(state, (tokens, store) => {
        if (!tokens.revoke(id, Date.now()))
          throw new Error(`there is no token ${id} that could be revoked: homeostat token list shows them`);
        store.audit({ at: Date.now(), who: 'cli', action: 'token-revoke', subject: id, detail: '' });
        console.log(`revoked ${id}`);
      });
    });
}

function create({
  host,
  operator,
  ttl,
  state,
}: State & { host?: string; operator?: string; ttl?: number }): void {
  if ((host === undefined) === (operator === undefined))
    throw new Error('say --host NAME or --operator NAME');
  if (host !== undefined && !Name.safeParse(host).success)
    throw new Error(`${host} can't be the name of a Host document`);
  const purpose = host === undefined ? 'operator' : 'enroll';
  const subject = host ?? operator ?? '';
  const ttlMs = ttl ?? (host === undefined ? 90 * 24 * 3600_000 : 3600_000);
  const file = join(state, KEY_FILE);
  const keys = readKeys(file) ?? addKey(file);
  withStore(state, (tokens, store) => {
    const nowMs = Date.now();
    const { id, secret } = tokens.create(purpose, subject, nowMs, ttlMs);
    store.audit({ at: nowMs, who: 'cli', action: 'token-create', subject, detail: `${purpose} ${id}` });
    console.error(
      `token ${id} for ${purpose === 'enroll' ? 'host' : 'operator'} ${subject}, good until ${iso(nowMs + ttlMs)}:`,
    );
    console.log(formatToken(id, secret, keys.fingerprint));
  });
}

function withStore(state: string, work: (tokens: Tokens, store: Store) => void): void {
  const database = new Database(join(state, STORE_FILE), Date.now);
  database.open();
  try {
    if (database.problem !== undefined) throw new Error(database.problem);
    work(new Tokens(database), new Store(database));
  } finally {
    database.close();
  }
}

function stateOf(token: Token): string {
  if (token.revokedAt !== undefined) return 'revoked';
  if (token.usedAt !== undefined) return `used ${iso(token.usedAt)}`;
  return token.expiresAt <= Date.now() ? 'expired' : 'good';
}

function iso(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}

function duration(text: string): number {
  const match = /^(\d{1,6})([smhd])$/.exec(text);
  if (match === null) throw new InvalidArgumentError('a duration is a number with s, m, h or d, as in 30m');
  return (
    Number(match[1]) * { s: 1000, m: 60_000, h: 3600_000, d: 86_400_000 }[match[2] as 's' | 'm' | 'h' | 'd']
  );
}
