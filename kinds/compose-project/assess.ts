// Whether the services of the document work, each container by what the engine shows of it. Pure.
import { mountMissing } from '../container-start.ts';
import { verdictOf } from '../docker-verdict.ts';
import type { Trial, Verdict } from '../kind.ts';
import { no, unknown } from '../shared/verdicts.ts';
import type { Container } from './containers.ts';
import type { Observed } from './observe.ts';
import type { D } from './schema.ts';
import type { Before } from './undo.ts';

export function assess(d: D, o: Observed, trial?: Trial<Before>): Verdict {
  // Their files are what would have to change, or will: no fault of a change of ours.
  const theirs = trial === undefined ? no : unknown;
  if (o.misfits.length > 0) {
    const words = o.misfits.map((misfit) => {
      const rest = [
        misfit.isLeftOut ? 'ours does without it' : '',
        misfit.goesOn ? 'what runs of it goes on' : '',
      ];
      return `${misfit.words} (${rest.filter(Boolean).join(', ')})`;
    });
    return theirs('BaseDiffers', `${d.spec.directory}: ${words.join('; ')}`);
  }
  if (o.refused !== undefined) {
    return theirs('ComposeRefuses', `docker compose refuses the files with ours beside them: ${o.refused}`);
  }
  const names = Object.keys(o.override.services);
  const verdicts = names.flatMap((name): Verdict[] => {
    const containers = o.containers.filter((c) => c.service === name);
    if (containers.length === 0) return [no('Gone', `${name} has no container`)];
    return containers.map((container) => ofOne(container, o, trial?.before));
  });
  for (const wanted of ['No', 'Unknown'] as const) {
    const found = verdicts.filter((v) => v.verdict !== 'Yes').filter((v) => v.verdict === wanted);
    if (found.length === 0) continue;
    const evidence = found.map((v) => v.evidence).join('\n');
    const soonest = Math.min(...found.map((v) => v.againMs ?? Number.POSITIVE_INFINITY));
    const again = soonest === Number.POSITIVE_INFINITY ? undefined : soonest;
    return (wanted === 'No' ? no : unknown)(found[0]!.reason, evidence, again);
  }
  const runs = verdicts.flatMap((v) => (v.verdict === 'Yes' && v.run !== undefined ? [v.run] : []));
  const id = runs.map((run) => run.id).join(' ');
  return { verdict: 'Yes', run: { id, ageMs: Math.min(...runs.map((run) => run.ageMs)) } };
}

function ofOne(container: Container, o: Observed, before: Before | undefined): Verdict {
  const { service, engine } = container;
  const seen = { name: service, container: engine, nowMs: o.nowMs, log: o.logs.get(container.id) ?? '' };
  const gone = o.starts.gone.get(container.id);
  if (gone !== undefined) return mountMissing(service, gone);
  if (before === undefined) return verdictOf(seen);
  const verdict = verdictOf(seen, { restarts: before.restarts[container.id] ?? 0 });
  // What did not work before is not the change's fault; it is not working either.
  if (verdict.verdict !== 'No' || !before.unwell.includes(service)) return verdict;
  const evidence = `${verdict.evidence}\n(it did not work before this change, either)`;
  return unknown(verdict.reason, evidence, verdict.againMs);
}
