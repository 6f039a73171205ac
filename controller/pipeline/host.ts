// Everything one host gets, put together: its documents rendered, claims and references checked against each
// other, and the payload's digest. A host whose inputs are the same objects as last time is not looked at again.
import { createHash } from 'node:crypto';
import type { Diagnostic } from '../../api/diagnostics.ts';
import { API_VERSION, type HostDocument } from '../../api/documents.ts';
import { canonical } from '../../api/json.ts';
import { type Bound, NO_HOST } from './bind.ts';
import { labelsOf } from './catalog.ts';
import { at } from './defect.ts';
import type { Scope } from './interpolate.ts';
import { diagnosticAt, type ParsedFleet, type ParsedHost, sourceOf } from './parsed.ts';
import { type Rendered, render } from './render.ts';
import type { Targets } from './targets.ts';
import type { Path } from './yaml.ts';

export interface HostInputs {
  readonly host: ParsedHost;
  readonly fleet: ParsedFleet | undefined;
  /** In the order of their keys. */
  readonly bounds: readonly Bound[];
  /** Keys of what other hosts keep, and this one must not remove (the api's Payload). */
  readonly elsewhere: readonly string[];
  /** Where one of them names other hosts: what it says of them. Not kept otherwise, since it is all of the fleet. */
  readonly targets: Targets | undefined;
}

/** A reference to a document that this host doesn't have. */
export interface Missing {
  readonly bound: Bound;
  readonly ref: string;
  readonly path: Path;
}

export interface HostRender {
  readonly inputs: HostInputs;
  readonly rendered: readonly Rendered[];
  readonly findings: readonly Diagnostic[];
  readonly missing: readonly Missing[];
  /** Hex SHA-256 of the payload's text. */
  readonly payloadDigest: string;
}

/** @param targets not for paths, where they have no place */
export function scopeOf(
  host: ParsedHost,
  fleet: ParsedFleet | undefined,
  targets: Scope['targets'] = NO_HOST.targets,
): Scope {
  const { address } = host.broken ? { address: undefined } : host.document.spec;
  const vars = {
    ...(fleet === undefined || fleet.broken ? {} : fleet.document.spec.vars),
    ...(host.broken ? {} : host.document.spec.vars),
  };
  return {
    host: { name: host.name, labels: labelsOf(host), ...(address === undefined ? {} : { address }) },
    vars,
    targets,
  };
}

export function renderHost(inputs: HostInputs, previous: HostRender | undefined): HostRender {
  if (previous !== undefined && sameInputs(previous.inputs, inputs)) return previous;
  const { host, fleet, bounds, targets } = inputs;
  const scope = scopeOf(host, fleet, targets);
  const sameHost = previous?.inputs.host === host && previous.inputs.fleet === fleet;
  const sameTargets = previous?.inputs.targets === targets;
  const reusable =
    (sameHost && previous.rendered.filter(({ bound }) => sameTargets || !bound.fleetwide)) || [];
  const known = new Map(reusable.map((r) => [r.bound, r] as const));
  const rendered = bounds.map((bound) => known.get(bound) ?? at(bound.resource, () => render(bound, scope)));
  const present = new Set(rendered.map((r) => r.key));
  const missing = rendered.flatMap((r) =>
    r.references
      .filter(({ ref }) => !present.has(ref))
      .map(({ ref, path }) => ({ bound: r.bound, ref, path })),
  );
  const hash = createHash('sha256');
  for (const part of payloadParts(inputs, rendered)) hash.update(part);
  return { inputs, rendered, findings: twoOwners(rendered), missing, payloadDigest: hash.digest('hex') };
}

/** The payload's text, put together again whenever it is asked for: 10,000 of them would be most of the memory. */
export function payloadText({ inputs, rendered }: HostRender): string {
  return payloadParts(inputs, rendered).join('');
}

/** Canonical JSON of the api's Payload, in pieces. */
function payloadParts({ host, elsewhere }: HostInputs, rendered: readonly Rendered[]): string[] {
  const spec: HostDocument['spec'] = host.broken ? {} : host.document.spec;
  const facts = canonical({
    name: host.name,
    address: spec.address,
    labels: labelsOf(host),
    mode: spec.mode ?? 'observe',
    decommission: spec.decommission ?? false,
    confirmRemovals: spec.confirmRemovals ?? [],
    ...(elsewhere.length === 0 ? {} : { elsewhere }),
  });
  const parts = [`{"apiVersion":${JSON.stringify(API_VERSION)},"host":${facts},"resources":[`];
  rendered.forEach((r, i) => {
    parts.push(i === 0 ? '' : ',', r.text);
  });
  parts.push(']}');
  return parts;
}

function sameInputs(a: HostInputs, b: HostInputs): boolean {
  if (a.host !== b.host || a.fleet !== b.fleet || a.bounds.length !== b.bounds.length) return false;
  if (a.targets !== b.targets || a.elsewhere.join() !== b.elsewhere.join()) return false;
  return a.bounds.every((bound, i) => bound === b.bounds[i]);
}

/** PATH_MAX of Linux, and a word before it; each claim is looked up by each of its beginnings. */
const MAX_CLAIM = 4200;

/** A claim, and every claim that it is a part of, must have one owner (claimsOverlap of kinds/kind.ts). */
function twoOwners(rendered: readonly Rendered[]): Diagnostic[] {
  const owners = new Map<string, Rendered>();
  const diagnostics: Diagnostic[] = [];
  const clash = (claim: string, one: Rendered, other: Rendered, whole: string): void => {
    // Said at the later document, as for names that are taken.
    const [first, second] = isBefore(one, other) ? [one, other] : [other, one];
    const what = whole === claim ? claim : `${claim}, a part of ${whole},`;
    const message = `${what} has two owners, ${second.key} and ${first.key} (${sourceOf(first.bound.resource)}): leave it to one of them`;
    diagnostics.push(diagnosticAt(second.bound.resource, ['spec'], 'value', message));
  };
  for (const r of rendered) {
    for (const claim of new Set(r.claims)) {
      if (claim.length > MAX_CLAIM) {
        const { resource } = r.bound;
        const message = `${resource.key} has a name of ${claim.length} characters (${claim.slice(0, 60)}…), and at most ${MAX_CLAIM} are good for anything: shorten it`;
        diagnostics.push(diagnosticAt(resource, ['spec'], 'value', message));
        continue;
      }
      const owner = owners.get(claim);
      if (owner === undefined) owners.set(claim, r);
      else if (owner !== r) clash(claim, owner, r, claim);
    }
  }
  for (const [claim, owner] of owners) {
    for (let i = 1; i < claim.length; i++) {
      if (claim[i] !== '/' && claim[i] !== '#') continue;
      const whole = claim.slice(0, i);
      const other = owners.get(whole);
      if (other !== undefined && other !== owner) clash(claim, owner, other, whole);
    }
  }
  return diagnostics;
}

function isBefore(a: Rendered, b: Rendered): boolean {
  const x = a.bound.resource;
  const y = b.bound.resource;
  return x.file < y.file || (x.file === y.file && x.yaml.place.line <= y.yaml.place.line);
}
