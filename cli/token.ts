// `homeostat token`: lets hosts enrol, and operators read. Works on the controller's store, beside a running
// controller or before its first start.
import type { Command } from 'commander';
import { formatToken } from '../api/enroll.ts';
import { ownKeys } from '../controller/fleet/own-keys.ts';
import type { Token } from '../controller/store/tokens.ts';
import { STATE_OPTION } from './controller.ts';
import { withState } from './controller-state.ts';
import { duration, type Format, matching, name, outputOption, text } from './options.ts';
import { data, table } from './table.ts';

interface State {
  readonly state: string;
}

export function register(program: Command): void {
  const token = program.command('token').description('make, list and revoke tokens');
  token
    .command('create')
    .description('print a token; it can’t be shown again')
    .option('--host <name>', 'one-time token with which this host enrols', name)
    .option(
      '--operator <name>',
      'bearer token with which a person or program reads the fleet’s state',
      text(100),
    )
    .option(
      '--ttl <duration>',
      'how long it is good: 30m, 1h, 7d; default 1h, for operators 90d; at most 3650d',
      duration('3650d'),
    )
    .addOption(STATE_OPTION)
    .addHelpText('after', '\nThe token is the only line on standard output.')
    .action(create);
  token
    .command('list')
    .description('show tokens without their secrets')
    .addOption(outputOption('table', 'wide', 'json', 'yaml'))
    .addOption(STATE_OPTION)
    .action(({ state, output }: State & { output: Format }) => list(state, output));
  token
    .command('revoke')
    .description('make a token worthless')
    .argument(
      '<id>',
      'as token list shows it',
      matching(/^[0-9a-f]{8}$/, 'An id has 8 hexadecimal digits: homeostat token list shows them.'),
    )
    .addOption(STATE_OPTION)
    .action((id: string, { state }: State) => {
      withState(state, 'change', ({ tokens, store }) => {
        if (!tokens.revoke(id, Date.now()))
          throw new Error(`there is no token ${id} that could be revoked: homeostat token list shows them`);
        store.audit({ at: Date.now(), who: 'cli', action: 'token-revoke', subject: id, detail: '' });
        console.log(`revoked ${id}`);
      });
    });
}

async function list(state: string, output: Format): Promise<void> {
  const all = withState(state, 'read', ({ tokens }) => tokens.list());
  if (output === 'json' || output === 'yaml') console.log(await data(all, output));
  else if (all.length === 0) console.log('there are no tokens');
  else {
    const isWide = output === 'wide';
    const head = ['ID', 'FOR', 'STATE', ...(isWide ? ['CREATED'] : []), 'EXPIRES'];
    const row = (t: Token): string[] => [
      t.id,
      `${t.purpose} ${t.subject}`,
      stateOf(t),
      ...(isWide ? [iso(t.createdAt)] : []),
      iso(t.expiresAt),
    ];
    console.log(table(head, all.map(row)));
  }
}

function create({
  host,
  operator,
  ttl,
  state,
}: State & { host?: string; operator?: string; ttl?: number }): void {
  if ((host === undefined) === (operator === undefined))
    throw new Error('say --host NAME or --operator NAME');
  const purpose = host === undefined ? 'operator' : 'enroll';
  const subject = host ?? operator ?? '';
  const ttlMs = 1000 * (ttl ?? (host === undefined ? 90 * 24 * 3600 : 3600));
  withState(state, 'create', ({ tokens, store, keyFile }) => {
    const keys = ownKeys(keyFile, store);
    const nowMs = Date.now();
    const { id, secret } = tokens.create(purpose, subject, nowMs, ttlMs);
    store.audit({ at: nowMs, who: 'cli', action: 'token-create', subject, detail: `${purpose} ${id}` });
    console.error(
      `token ${id} for ${purpose === 'enroll' ? 'host' : 'operator'} ${subject}, good until ${iso(nowMs + ttlMs)}:`,
    );
    console.log(formatToken(id, secret, keys.fingerprint));
  });
}

function stateOf(token: Token): string {
  if (token.revokedAt !== undefined) return 'revoked';
  if (token.usedAt !== undefined) return `used ${iso(token.usedAt)}`;
  return token.expiresAt <= Date.now() ? 'expired' : 'good';
}

function iso(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
