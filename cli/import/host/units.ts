// systemd units as they are: files that stand in /etc, drop-ins, whether they are enabled and running.
import path from 'node:path';
import { inWords } from '../../../api/errors.ts';
import type { Files, UnitState, Units } from '../../../kinds/ports.ts';
import { uninterpolated } from '../../generated.ts';
import { type Draft, type Gathered, nameFor } from './draft.ts';
import { secretLines } from './secrets.ts';

const ETC = '/etc/systemd/system';
/** Units of the monitoring stack and of what it takes the place of. */
const USUAL_UNITS = [
  'alloy.service',
  'promtail.service',
  'fluent-bit.service',
  'grafana-agent.service',
  'prometheus-node-exporter.service',
  'node_exporter.service',
];

/** @param named units that were asked for: one that is missing is told, unlike the usual ones. */
export async function gatherUnits(
  host: string,
  { files, units }: { readonly files: Files; readonly units: Units },
  named: readonly string[],
): Promise<Gathered> {
  const drafts: Draft[] = [];
  const notes: string[] = [];
  for (const unit of new Set([...USUAL_UNITS, ...named])) {
    let state: UnitState;
    try {
      state = await units.show(unit);
    } catch (error) {
      return { drafts, notes: [`systemd could not be asked, so units were left out: ${inWords(error)}`] };
    }
    if (state.loadState === 'not-found') {
      if (named.includes(unit)) notes.push(`there is no unit ${unit} on this host`);
    } else drafts.push(draftOf(host, unit, state, files));
  }
  return { drafts, notes };
}

function draftOf(host: string, unit: string, state: UnitState, files: Files): Draft {
  const beside = new Map<string, string>();
  const secret: string[] = [];
  const text = (file: string): { contentFrom: string } => {
    const found = files.read(file);
    const content = found.type === 'file' ? found.content.toString('utf8') : '';
    const lines = secretLines(content.replaceAll(/^\s*Environment=/gm, ''));
    if (lines.length > 0) secret.push(`${file}, line ${lines.join(', ')}`);
    const name = path.relative(ETC, file);
    beside.set(`${host}/${name}`, uninterpolated(content));
    return { contentFrom: name };
  };
  const dropIns = state.dropInPaths.filter((file) => path.dirname(file) === path.join(ETC, `${unit}.d`));
  const elsewhere = state.dropInPaths.filter(
    (file) => !dropIns.includes(file) && !file.includes('/lib/systemd/'),
  );
  const masked = state.loadState === 'masked' || state.unitFileState.startsWith('masked');
  const running = state.activeState === 'active' || state.activeState === 'reloading';
  const own = state.fragmentPath === path.join(ETC, unit);
  const spec = {
    unit,
    ...(own ? { unitFile: text(state.fragmentPath) } : {}),
    ...(dropIns.length === 0
      ? {}
      : { dropIns: Object.fromEntries(dropIns.map((file) => [path.basename(file), text(file)])) }),
    ...(['enabled', 'disabled'].includes(state.unitFileState)
      ? { enabled: state.unitFileState === 'enabled' }
      : {}),
    ...(masked ? { masked: true } : {}),
    state: running ? 'running' : 'stopped',
  };
  return {
    kind: 'Service',
    name: nameFor(unit.replace(/\.service$/, ''), host),
    file: `${host}/services.yaml`,
    hosts: [host],
    spec,
    remarks:
      elsewhere.length === 0
        ? []
        : [`${unit} is also changed by ${elsewhere.join(', ')}, which stay as they are.`],
    ...(secret.length === 0
      ? { beside }
      : {
          doubt: `${secret.join('; ')} seems to hold a secret, and what is imported goes to git.\nUse LoadCredential= or EnvironmentFile= there, then import again.`,
        }),
  };
}
