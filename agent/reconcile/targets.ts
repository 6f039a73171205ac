// What a pass aims at: what git asks for, or the last confirmed state as its fallback.
import type { Resource } from '../../api/bundle.ts';
import { Stalled } from '../../api/errors.ts';
import type { AnyKind, Desired, HostFacts, Input } from '../../kinds/kind.ts';
import { secretPermissions, secretRefsIn, withoutCiphertext } from '../secrets/store.ts';
import { isGranted, requireAllowed } from './allow.ts';
import { contentFrom, judgeOf, kindOf, memoryOf, type ReconcilerDeps, type Target } from './loop.ts';
import { confirmedPlace } from './relocate.ts';
import { desiredDigest, type ResourceState } from './world.ts';

export class Targets {
  readonly #deps: ReconcilerDeps;
  /** Specs that this host's agent allows: neither they nor its allow-list change while it runs. */
  readonly #allowed = new WeakSet<object>();

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps;
  }

  /**
   * Has the secrets decrypted that a pass may need: for what git asks for, for what was confirmed, and for what an
   * undo or a removal goes by. Nothing to wait for, as a rule.
   */
  ready(state: ResourceState): Promise<void> | undefined {
    const { secrets, journal } = this.#deps;
    const wanted = secretRefsIn(state.resource?.spec);
    const known = secretRefsIn(journal.entry(state.key));
    const before = secretRefsIn(journal.intent(state.key)?.snapshot);
    if (wanted.length + known.length + before.length === 0) return undefined;
    return secrets.prepare([...wanted, ...known, ...before]);
  }

  /** What git asks for. @throws Stalled when this host can't understand it, must not do it, or lacks a secret. */
  wanted(state: ResourceState, resource: Resource): Target {
    const kind = this.#deps.kinds.get(resource.kind);
    const parsed = this.#deps.world.specOf(resource);
    if (kind === undefined || parsed === undefined) {
      throw new Stalled(
        'Unsupported',
        `this agent does not know the kind ${resource.kind}; a newer agent may`,
      );
    }
    if (state.parsed?.from !== resource) {
      if (!parsed.success) {
        const issue = parsed.error.issues[0]!;
        throw new Stalled(
          'Unsupported',
          `spec.${issue.path.join('.')}: ${issue.message} (is this agent too old for it?)`,
        );
      }
      const digest =
        secretRefsIn(resource.spec).length > 0 ? undefined : desiredDigest(resource.kind, resource.spec, []);
      state.parsed = { from: resource, spec: parsed.data, ...(digest === undefined ? {} : { digest }) };
    }
    const { spec } = state.parsed;
    this.#requireAllowed(kind, spec);
    const digest =
      state.parsed.digest ??
      desiredDigest(
        resource.kind,
        withoutCiphertext(spec),
        secretRefsIn(spec).map((ref) => this.#deps.secrets.resolve(ref).hmac),
      );
    return { kind, desired: this.#desired(state.key, kind, spec, digest), isFallback: false };
  }

  /** The last confirmed state of a key. @throws Stalled when this host may no longer have it. */
  confirmed(state: ResourceState): Target | undefined {
    const confirmed = this.#deps.journal.entry(state.key)?.confirmed;
    if (confirmed === undefined) return undefined;
    const kind = kindOf(this.#deps.kinds, state.key);
    this.#requireAllowed(kind, confirmed.spec);
    const desired = this.#desired(state.key, kind, confirmed.spec, confirmed.digest);
    return { kind, desired, isFallback: true };
  }

  #requireAllowed(kind: AnyKind, spec: Record<string, unknown>): void {
    if (this.#allowed.has(spec)) return;
    requireAllowed(
      kind.kind,
      [...kind.permissions(spec), ...secretPermissions(secretRefsIn(spec))],
      this.#deps,
    );
    this.#allowed.add(spec);
  }

  #desired(
    key: string,
    kind: AnyKind,
    spec: Record<string, unknown>,
    digest: string,
  ): Desired<Record<string, unknown>> {
    const { journal, world, secrets } = this.#deps;
    const entry = journal.entry(key);
    const inputs: Record<string, Input> = {};
    for (const ref of kind.inputs?.(spec) ?? []) {
      const written = journal.entry(ref)?.written;
      if (written !== undefined) inputs[ref] = { digest: written.digest, appliedAtMs: written.atMs };
    }
    const { name, address, labels } = world.assignment!.payload.host;
    const host: HostFacts = { name, labels, ...(address === undefined ? {} : { address }) };
    return {
      key,
      spec,
      host,
      digest,
      heal: entry?.confirmed?.digest === digest,
      // What was confirmed in another place says nothing of what stands in this one.
      known: entry?.confirmed !== undefined && confirmedPlace(kind, entry) === kind.place?.(spec),
      held: entry?.owns ?? [],
      inputs,
      memory: memoryOf(key, kind, entry),
      content: contentFrom(secrets),
      ...judgeOf(this.#deps),
    };
  }

  /** What watches are armed with; undefined while the resource can't be understood on this host. */
  watched(state: ResourceState): Target | undefined {
    if (state.resource === undefined) return undefined;
    try {
      const wanted = this.wanted(state, state.resource);
      return this.#keptElsewhere(state, wanted) ?? wanted;
    } catch {
      try {
        return this.confirmed(state);
      } catch {
        return undefined;
      }
    }
  }

  /** What is kept up in another place, while what git asks for can't be had and isn't tried. */
  #keptElsewhere(state: ResourceState, { kind, desired }: Target): Target | undefined {
    const entry = this.#deps.journal.entry(state.key);
    const isParked = [state.parked?.digest, entry?.quarantined?.digest].includes(desired.digest);
    if (!isParked) return undefined;
    const place = confirmedPlace(kind, entry);
    return place === undefined || place === kind.place?.(desired.spec) ? undefined : this.confirmed(state);
  }

  /** The files in which a change of a secret would show, as far as this host lets a manifest read them. */
  secretFiles(state: ResourceState): string[] {
    const { secrets } = this.#deps;
    const refs = secretRefsIn(state.resource?.spec).filter((ref) =>
      secretPermissions([ref]).every((permission) => isGranted(permission, this.#deps)),
    );
    return [...new Set(refs.flatMap((ref) => secrets.fileOf(ref) ?? []))];
  }
}
