// What people do to a host by hand, each with the question whether it has been put right. Looked at from outside,
// through the host's own files, bus and LocalAPI, never through homeostat.
import { appendFileSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { systemClock } from '../../agent/providers/clock.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { createSystemd } from '../../agent/providers/systemd.ts';
import { createTailscale } from '../../agent/providers/tailscale.ts';
import type { LabHost } from './host.ts';
import { fileIn } from './stack.ts';

const CONFIG = '/etc/alloy/config.alloy';
const UNIT = 'alloy.service';
const SOURCE = '/etc/apt/sources.list.d/grafana.sources';
const KEYRING = '/etc/apt/keyrings/grafana.gpg';

export interface Breakage {
  readonly name: string;
  /** Leaves the host broken, or already being mended. */
  breakIt(): Promise<void>;
  isRight(): Promise<boolean>;
}

/** Eyes and hands on one host; `close` when done. */
export function openHost(host: LabHost) {
  const units = createSystemd({ busAddress: `unix:path=${host.rootDir}/run/dbus/system_bus_socket` });
  const tailscale = createTailscale({
    socketPaths: [`${host.rootDir}/run/tailscale/tailscaled.sock`],
    processes: createProcesses(),
    clock: systemClock,
  });
  const shell = (...command: string[]) => host.exec(command, { check: true });

  async function alloyRuns(): Promise<boolean> {
    const { activeState, loadState, unitFileState, needDaemonReload } = await units.show(UNIT);
    return (
      activeState === 'active' && loadState === 'loaded' && unitFileState === 'enabled' && !needDaemonReload
    );
  }

  /** @param wanted the config's text as the manifest has it. */
  function breakages(wanted: string): Breakage[] {
    const file = host.rootDir + CONFIG;
    const configIsRight = async () => fileIn(host, CONFIG) === wanted;
    let invocation = '';
    const remember = async () => {
      invocation = (await units.show(UNIT)).invocationID;
    };
    return [
      {
        name: 'config edited',
        breakIt: async () => appendFileSync(file, '// by hand\n'),
        isRight: configIsRight,
      },
      { name: 'config deleted', breakIt: async () => rmSync(file), isRight: configIsRight },
      {
        name: 'config replaced',
        async breakIt() {
          writeFileSync(`${file}.new`, '// another\n');
          renameSync(`${file}.new`, file);
        },
        isRight: configIsRight,
      },
      {
        name: 'alloy removed by apt',
        async breakIt() {
          await remember();
          await shell('apt-get', '--quiet', '--yes', '--allow-change-held-packages', 'remove', 'alloy');
        },
        isRight: async () => (await alloyRuns()) && (await units.show(UNIT)).invocationID !== invocation,
      },
      {
        name: 'the source of packages deleted, with its key',
        breakIt: () => shell('rm', SOURCE, KEYRING).then(() => undefined),
        isRight: async () => [SOURCE, KEYRING].every((path) => existsSync(host.rootDir + path)),
      },
      {
        name: 'alloy stopped',
        async breakIt() {
          await remember();
          await units.run('stop', UNIT).catch(() => {}); // the start that heals it may cancel the stop's job
        },
        isRight: async () => (await alloyRuns()) && (await units.show(UNIT)).invocationID !== invocation,
      },
      {
        name: 'alloy disabled',
        breakIt: () => units.disable(UNIT),
        isRight: alloyRuns,
      },
      {
        name: 'alloy masked and stopped',
        async breakIt() {
          await remember();
          await host.exec(['systemctl', 'mask', '--now', UNIT]); // its stop may be cancelled by the start that heals
        },
        isRight: async () => (await alloyRuns()) && (await units.show(UNIT)).invocationID !== invocation,
      },
      {
        name: 'unit file edited (systemctl edit --full)',
        async breakIt() {
          writeFileSync(
            `${host.rootDir}/etc/systemd/system/${UNIT}`,
            '[Service]\nExecStart=/bin/sleep infinity\n',
          );
          await shell('systemctl', 'daemon-reload');
        },
        isRight: async () => fileIn(host, `/etc/systemd/system/${UNIT}`) === undefined && (await alloyRuns()),
      },
      {
        name: 'drop-in added (systemctl edit)',
        async breakIt() {
          const directory = `${host.rootDir}/etc/systemd/system/${UNIT}.d`;
          mkdirSync(directory, { recursive: true });
          writeFileSync(`${directory}/override.conf`, '[Service]\nMemoryMax=1M\n');
          await shell('systemctl', 'daemon-reload');
        },
        isRight: async () =>
          fileIn(host, `/etc/systemd/system/${UNIT}.d/override.conf`) === undefined && (await alloyRuns()),
      },
      {
        name: 'webclient turned off',
        breakIt: () => tailscale.setPrefs({ RunWebClient: false }),
        isRight: async () => (await tailscale.prefs())['RunWebClient'] === true,
      },
    ];
  }

  return {
    breakages,
    alloyRuns,
    prefs: () => tailscale.prefs(),
    async close() {
      await units.close();
      await tailscale.close();
    },
  };
}
