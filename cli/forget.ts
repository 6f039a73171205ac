// `homeostat forget host`: ends what a controller knows of a host: its key, its status, its series. Works on the
// controller's store, beside a running controller or without one.
import { userInfo } from 'node:os';
import type { Command } from 'commander';
import { HostDocument } from '../api/documents.ts';
import { STATE_OPTION } from './controller.ts';
import { withState } from './controller-state.ts';
import { name as hostName } from './options.ts';

export function register(program: Command): void {
  const forget = program.command('forget').description('end what a controller knows');
  forget
    .command('host')
    .description('revoke the key of a host at once, and end its status and its series')
    .argument('<name>', 'name of the host', hostName)
    .addOption(STATE_OPTION)
    .addHelpText(
      'after',
      '\nA running controller refuses the key with its next request, and ends what waits within seconds. The host keeps\nwhat it runs. While git has its Host document, it stays in the fleet as one that is not enrolled.',
    )
    .action((name: string, { state }: { state: string }) => forgetHost(name, state));
}

function forgetHost(name: string, state: string): void {
  withState(state, 'change', ({ store }) => {
    const isKnown =
      store.hosts().some((host) => host.name === name) || store.statusHosts()?.has(name) === true;
    const assignment = store.assignments().find((a) => a.host === name);
    const document = HostDocument.safeParse(JSON.parse(assignment?.document ?? 'null')).data;
    if (document?.spec.publicKey !== undefined) {
      throw new Error(
        `git names the key of ${name}, so it can't be revoked here: remove spec.publicKey of Host/${name}, or the whole document, and forget the host when that commit is served`,
      );
    }
    if (!isKnown)
      throw new Error(`nothing is known of a host ${name}: homeostat get hosts lists those that are`);
    if (!store.forgetHosts([name], Date.now(), `cli:${userName()}`, 'homeostat forget host'))
      throw new Error(store.problem ?? `${name} could not be forgotten`);
    console.log(`forgot ${name}: its key, its status and its unused tokens are worth nothing any more`);
    if (assignment !== undefined)
      console.log(
        `git has Host/${name} still, so it is shown as not enrolled: remove the document if it is gone`,
      );
  });
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? '');
  }
}
