// What each command ends with. Help, docs/cli.md and the tests have it from here. 1 is every error, a wrong command
// line among them, so that 2 can be an answer (decision 0055).

export type ExitCodes = Readonly<Record<number, string>>;

const WRONG = 'the command line is wrong';
const UNREAD = `${WRONG}, or the manifests can’t be read or have errors`;
const AGENT = `${WRONG}, no agent answers, or it refuses`;

/** By the words after `homeostat`. */
export const EXIT_CODES: Readonly<Record<string, ExitCodes>> = {
  agent: {
    0: 'stopped by SIGTERM or SIGINT',
    1: `${WRONG}, or the agent can’t start: the message says why`,
    75: 'its memory reached the ceiling: systemd starts it again',
  },
  controller: {
    0: 'stopped by SIGTERM or SIGINT; bad manifests never end it',
    1: `${WRONG}, or the controller can’t start: the message says why`,
  },
  init: { 0: 'written', 1: `${WRONG}, or nothing was written` },
  validate: { 0: 'valid; warnings may be printed', 1: UNREAD },
  render: { 0: 'printed', 1: `${UNREAD}, or there is no such host` },
  plan: {
    0: 'nothing would change',
    1: `${UNREAD}, or a resource could not be looked at`,
    2: 'something would change',
  },
  once: { 0: 'all resources are ready', 1: `${UNREAD}, or it can’t run here`, 2: 'not all are ready' },
  allow: {
    0: 'printed',
    1: `${UNREAD}, or there is nothing to go by`,
    2: 'printed, and this host could not be asked about everything yet',
  },
  status: { 0: 'the host and all resources are ready', 1: AGENT, 2: 'not all are ready' },
  reconcile: { 0: 'the agent looks again', 1: AGENT },
  suspend: { 0: 'suspended', 1: AGENT },
  resume: { 0: 'resumed', 1: AGENT },
  keygen: { 0: 'made or promoted', 1: `${WRONG}, there is a key already, or none to promote` },
  'token create': { 0: 'printed', 1: `${WRONG}, the token could not be stored, or the signing key is lost` },
  'token list': { 0: 'printed', 1: `${WRONG}, or the store can’t be read` },
  'token revoke': { 0: 'revoked', 1: `${WRONG}, or there is no such token` },
  'forget host': {
    0: 'forgotten',
    1: `${WRONG}, nothing is known of it, git names its key, or it could not be stored`,
  },
  'secret keygen': {
    0: 'the recipient was printed',
    1: `${WRONG}, or the identity can’t be read or written`,
  },
  'secret encrypt': { 0: 'written', 1: `${WRONG}, or nothing was written` },
  'secret edit': { 0: 'written, or unchanged', 1: `${WRONG}, or nothing was written` },
  'secret rekey': { 0: 'all are written', 1: `${WRONG}, or none was written` },
  enroll: { 0: 'enrolled', 1: `${WRONG}, or the host is not enrolled: the message says why` },
  'get hosts': { 0: 'printed', 1: `${WRONG}, or the controller can’t be reached or refuses` },
  'describe host': {
    0: 'printed',
    1: `${WRONG}, there is no such host, or the controller can’t be reached or refuses`,
  },
  'import grafana-dashboard': { 0: 'written or printed', 1: `${WRONG}, or nothing was written` },
  'import host': { 0: 'written', 1: `${WRONG}, or nothing was written` },
  'import tailnet-policy': { 0: 'written or printed', 1: `${WRONG}, or nothing was written` },
  'convert promtail': {
    0: 'converted; what has no counterpart is listed',
    1: `${WRONG}, or nothing was written`,
    2: 'written without what could not be converted (--bypass-errors)',
  },
  version: { 0: 'printed', 1: WRONG },
};

/** Of `homeostat` itself, and of a command that only holds others. */
export const GROUP_EXIT_CODES: ExitCodes = { 0: 'help was printed', 2: 'there is no such command or option' };

/** @param path the words after `homeostat`. @throws Error when a command is not in the table. */
export function exitCodesOf(path: string, isGroup: boolean): ExitCodes {
  const codes = isGroup || path === 'help' || path.endsWith(' help') ? GROUP_EXIT_CODES : EXIT_CODES[path];
  if (codes === undefined) throw new Error(`cli/exit-codes.ts does not say how \`homeostat ${path}\` ends`);
  return codes;
}

export function exitCodesText(codes: ExitCodes): string {
  const lines = Object.entries(codes).map(([code, meaning]) => `  ${code.padEnd(3)} ${meaning}`);
  return ['Exit codes:', ...lines].join('\n');
}
