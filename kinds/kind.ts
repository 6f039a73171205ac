// The contract between the reconcile loop and a kind. A kind is level-based: a pass knows its key and what the
// host looks like now, never what happened. It may run at any time, again after any crash, and must get from
// wherever the host is to where the manifest wants it. docs/add-a-kind.md walks through writing one.
import type * as z from 'zod';
import type { SecretRef } from '../api/documents.ts';
import type { Json } from '../api/json.ts';
import type { PortName, Ports } from './ports.ts';

/**
 * What a resource owns, exclusively, on its host: `file:/etc/alloy/config.alloy`, `unit:alloy.service`,
 * `tailscale:prefs/RunWebClient`. Hierarchical at '/' and '#': who owns `file:/a` owns `file:/a#block` too, so
 * that a whole and its part can't have two owners. A directory that is owned for its attributes only is
 * `file:/a/.`, which leaves what is in it to others.
 */
export type Claim = string;

/**
 * One thing that a manifest wants to be allowed to do on a host; the grants of the agent's configuration answer it. It
 * names one object exactly, as it will be touched.
 */
export interface Permission {
  readonly type:
    | 'path'
    | 'unit'
    | 'exec'
    | 'user'
    | 'tailscale'
    /** A container's image, with its tag or digest. */
    | 'image'
    /** A path of the host, or a named volume, that a container sees. */
    | 'mount'
    /** What a container may do beyond the engine's default: `CAP_NET_ADMIN`, `network:host`. */
    | 'capability'
    /** A Debian package, or a repository that packages come from: `repository:https://apt.example.org`. */
    | 'package'
    /** Origin of an API that is written to, or asked with a secret: `http://127.0.0.1:3000`. */
    | 'url'
    /** Where a secret comes from; the loop adds every `secretFrom` of a spec, so that kinds need not. */
    | 'secret'
    | 'root-equivalent';
  readonly value: string;
  /** Of a mount: whether what is mounted can be written through it. Default rw. */
  readonly mode?: 'ro' | 'rw';
  /** Of a mount: the agent's own paths below it that something empty is mounted over, so that they can't be seen. */
  readonly covers?: readonly string[];
  /** Why it is needed, where the value alone does not say. */
  readonly why?: string;
}

/** One difference between desired and observed, for people (plan, page, log) and for `apply`. */
export interface Change {
  /** What differs: 'content', 'mode', 'enabled', 'webclient', … */
  readonly what: string;
  readonly from: string;
  readonly to: string;
  /** Texts to be shown as a diff; of secret ones only line numbers are shown. */
  readonly text?: { readonly before: string; readonly after: string; readonly secret: boolean };
}

/** What `prepare` found before the first write of a change. */
export interface Prepared<B> {
  /** Whether what the resource owns was there before: decides `created` or `adopted`. */
  readonly existed: boolean;
  /**
   * How to go back, and what the gate compares with; JSON, since it must survive a crash, and whole in itself
   * (paths included), since the manifest may be gone when it is needed.
   */
  readonly before: B;
}

/**
 * The shape of something that is kept on disk. What is read back is parsed by it, never cast: an agent of another
 * release may have written it. Version 1 is what release 0.1 wrote, which carried no version.
 */
export interface Versioned<T> {
  /** Of what is written now; rises with each change of the shape that the schema would refuse or misread. */
  readonly version: number;
  readonly schema: z.ZodType<T>;
  /** What an earlier version wrote, as this one's. Without it, earlier versions can't be read. */
  readonly migrate?: (data: Json, from: number) => Json;
}

/** What runs, for as long as it is the same run; a restart in between is another one. */
interface Run {
  /** An invocation of a unit, a container with the time of its start. */
  readonly id: string;
  /** For how long it has run, milliseconds, as the host knows it: so an agent that was restarted knows it, too. */
  readonly ageMs: number;
}

/**
 * Whether a resource works, as it was just observed. Yes with a `run` counts once that run is older than the gate's
 * settleMs; without one, once Yes was seen for as long.
 */
export type Verdict =
  | { readonly verdict: 'Yes'; readonly run?: Run }
  | {
      /**
       * No: seen not to work. While a change is on trial it is rolled back for it, so say No only when waiting can't
       * mend it, or `trial.elapsedMs` is beyond what it may take. Unknown: it can't be seen, or not yet. Neither is
       * ever Ready.
       */
      readonly verdict: 'No' | 'Unknown';
      /** CamelCase. */
      readonly reason: string;
      /** One or a few sentences for people: what was seen, with numbers and the program's own message. */
      readonly evidence: string;
      /** Of a No: a rollback would not mend it, and would end what works; the change stays, and is not Ready. */
      readonly keep?: true;
      /** When it is worth looking again, milliseconds from now, where no event will say so. */
      readonly againMs?: number;
    };

/** A change that was applied and is not confirmed yet. */
export interface Trial<B> {
  /** What `prepare` recorded, the baseline too. */
  readonly before: B;
  /** Since it was put into force, milliseconds; after a restart of the agent, since that put it into force again. */
  readonly elapsedMs: number;
}

/** How long a change may take until it works, and for how long it must work to be confirmed; milliseconds. */
export interface Gate {
  readonly withinMs: number;
  readonly settleMs: number;
}

/** A secret's value: prints as [secret], is compared by HMAC under a key that never leaves the host. */
export interface Secret {
  reveal(): Buffer;
  readonly hmac: string;
  toString(): string;
}

/** A dependency whose content this resource's running process has read (restartOn). */
export interface Input {
  /** Digest of what was last written for it. */
  readonly digest: string;
  /** When that was written by us, unix milliseconds; 0 when it was found right and never written. */
  readonly appliedAtMs: number;
}

export interface HostFacts {
  readonly name: string;
  readonly address?: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** The host's owner's answer, for what is only known while a kind is at work. */
export interface Judge {
  /** The agent's own paths: its configuration, keys, state and socket. */
  readonly own: readonly string[];
  /**
   * Why the host's owner does not grant these; undefined when all are granted. For what is only seen between the steps
   * of `apply` and `undo`, and for what is found on the host.
   */
  refusal(permissions: readonly Permission[]): string | undefined;
}

export interface Desired<S, M = unknown> extends Judge {
  readonly key: string;
  readonly spec: S;
  readonly host: HostFacts;
  /** Of spec and the secrets it names: what makes two desired states the same. */
  readonly digest: string;
  /** This digest ran here before and was confirmed: nothing new is being tried, only put back. */
  readonly heal: boolean;
  /** Some state of this resource was confirmed here, in this place, before. */
  readonly known?: boolean;
  /** Content that may be a secret, as bytes. @throws Stalled('SecretMissing') */
  content(value: string | SecretRef): { bytes: Buffer; secret: boolean };
  /**
   * What is or may be ours on the host besides: of the state that was confirmed, and of changes that were cut off. A
   * change leaves nothing of it that its own spec does not own.
   */
  readonly held: readonly Claim[];
  /** By reference, what `inputs(spec)` named; those that never were applied are missing. */
  readonly inputs: Readonly<Record<string, Input>>;
  /** What `apply` returned last; undefined before that, and for a kind without memory. */
  readonly memory: M | undefined;
}

/** What the agent keeps of a resource, as `undo` sees it. */
export interface InventoryRecord<M = unknown> extends Judge {
  readonly key: string;
  readonly owns: readonly Claim[];
  readonly memory: M | undefined;
  /** As `Desired.content`: what is kept behind an API needs its secret to be put back, too. */
  content(value: string | SecretRef): { bytes: Buffer; secret: boolean };
}

/** What is wrong with a spec, or unwise. */
export interface Finding {
  readonly path: readonly (string | number)[];
  readonly message: string;
  /** Default: error. */
  readonly severity?: 'error' | 'warning';
  /** Where in the text at `path`, 1-based: people then read the line of the file that it came from. */
  readonly place?: { readonly line: number; readonly column: number };
}

/** A text that a spec names by address and digest, instead of carrying it. */
export interface Download {
  /** Of the mapping that names it: there a failure is reported. */
  readonly path: readonly (string | number)[];
  /** What the controller fetches, once; a mirror may stand in for its origin. */
  readonly url: string;
  /** Of its bytes, lower-case hex: what is rendered depends on this alone. */
  readonly sha256: string;
  /** Where the text stands in the spec that hosts get; nothing else may stand there. */
  readonly into: readonly (string | number)[];
}

/** S: spec. O: what is observed. P: ports. B: what undo goes by. M: memory. */
export interface Kind<S, O, P extends PortName = PortName, B = unknown, M = unknown> {
  readonly kind: string;
  /** Where its documents go: to `hosts`, to the one host of `runOn`, or as each of them says. */
  readonly scope: 'host' | 'fleet' | 'either';
  /** What it kept stays as it is when its document goes, whatever `prune` says. `undo` then is for changes only. */
  readonly orphanOnly?: true;
  /** Strict, and without transforms: what people wrote is what is signed. */
  readonly spec: z.ZodType<S>;
  /** The shape of what `prepare` records. */
  readonly before: Versioned<B>;
  /** The shape of what `apply` wants to find again in `Desired.memory`; without it there is no memory. */
  readonly memory?: Versioned<M>;
  /** The ports it uses; the agent says `Unsupported` on a host that lacks one. */
  readonly needs: readonly P[];
  /** What it owns on a host. Pure. */
  owns(spec: S): readonly Claim[];
  /**
   * Where that is, in one word, for a kind whose `undo` goes by the snapshot alone: a document that names another place
   * begins anew there, and the old place is undone once the new one is confirmed. Without it a change of place is a
   * change like any other, and what it leaves behind is the kind's own to see to. Pure.
   */
  place?(spec: S): string;
  /** What it must be allowed to do on a host, as far as its text says. Pure; judged before anything is looked at. */
  permissions(spec: S): readonly Permission[];
  /**
   * What it will touch on this host, now: links followed, variables expanded, defaults filled in, secrets read. Writes
   * nothing. Judged before `prepare`, and again just before each `apply`, so that nothing that changed in between opens
   * what was not granted. It must not rely on `check`: a controller that is taken over leaves that out.
   */
  resolve?(d: Desired<S, M>, io: Pick<Ports, P>, signal: AbortSignal): Promise<readonly Permission[]>;
  /**
   * Ends what runs of it and shows or does what is not granted; nothing else. For when `resolve` was refused just before
   * `apply`: what is there would stay as it is otherwise.
   */
  contain?(d: Desired<S, M>, io: Pick<Ports, P>, signal: AbortSignal): Promise<void>;
  /** Names that only serialise passes (`dpkg`); claims serialise by themselves. */
  locks?(spec: S): readonly string[];
  /** References whose content the resource's process reads at its start; their digests arrive as `inputs`. */
  inputs?(spec: S): readonly string[];
  /**
   * What else is wrong with a spec that fits the schema, path by path. Pure; on the controller, before anything
   * is signed. Return [] when all is well.
   */
  check?(spec: S): readonly Finding[];
  /** Texts that the controller fetches into the spec before `check` and signing. Pure; may be asked at any time. */
  downloads?(spec: S): readonly Download[];

  /**
   * What is there now: what is on disk, and what runs. Never writes. The cheap and local first: where a file differs,
   * what runs need not be asked, since the difference is mended before anything is assessed.
   */
  observe(d: Desired<S, M>, io: Pick<Ports, P>, signal: AbortSignal): Promise<O>;
  /**
   * Pure; [] means that there is nothing to apply. What runs and is not what is on disk (a reload that never happened)
   * is a difference too. `plan`, warn-only drift, observe mode and the heal all use this one.
   */
  diff(d: Desired<S, M>, observed: O): readonly Change[];
  /**
   * Pure; asked whenever there is no difference, at every pass: after an apply, a heal, a restart, at each resync.
   * Does it work, and does it run what is on disk? Yes is what makes a resource Ready, and nothing else does.
   * @param trial a change that is not confirmed yet; undefined for what was confirmed before.
   */
  assess(d: Desired<S, M>, observed: O, trial?: Trial<B>): Verdict;
  /** Without it a change is confirmed by the first Yes. Pure. */
  gate?(spec: S): Gate;
  /**
   * Validates what is about to be written, and records how to go back and the baseline. Writes nothing that lasts.
   * @throws Stalled when the desired state can't be right (the running state then stays).
   */
  prepare(d: Desired<S, M>, observed: O, io: Pick<Ports, P>, signal: AbortSignal): Promise<Prepared<B>>;
  /**
   * Gets the host there, and returns when it is in force; whether it works is `assess`'s to say, so nothing is waited
   * for here. With no changes: puts into force what is on disk (after a crash nobody knows whether the reload
   * happened). @throws Stalled when the host refused the new state: it is undone and quarantined.
   * @param observed what the changes were found in, where that was just now: a heal need not look again.
   */
  apply(
    changes: readonly Change[],
    d: Desired<S, M>,
    io: Pick<Ports, P>,
    signal: AbortSignal,
    observed?: O,
  ): Promise<M | undefined>;
  /**
   * Back to what `prepare` recorded, in force; what was not there before is removed. It may run again after a crash,
   * or after it failed, and must not depend on anything that the failed change may have broken.
   */
  undo(before: B, record: InventoryRecord<M>, io: Pick<Ports, P>, signal: AbortSignal): Promise<void>;
  /** Arms first, then wakes once, then at each event; throwing has it re-armed with backoff. */
  watch?(d: Desired<S, M>, io: Pick<Ports, P>, wake: () => void, signal: AbortSignal): Promise<void>;
  /** The program's version, part of the quarantine's key: a new Alloy may accept what the old one refused. */
  version?(d: Desired<S, M>, io: Pick<Ports, P>, signal: AbortSignal): Promise<string>;
  /**
   * What stands there, where the spec alone does not say it (a version that is `latest`): it is part of what others that
   * restart on it have read. Pure; asked when nothing differs.
   */
  revision?(d: Desired<S, M>, observed: O): string;
  /** Conditions beside Ready: what is neither a difference nor a fault (a key about to expire). */
  conditions?(d: Desired<S, M>, observed: O): readonly Concern[];
  /** Its secrets only open an API and stand in nothing that it writes: its diffs may be shown whole. */
  readonly secretsOnlyOpen?: boolean;
  /** How often it may heal before it counts as contended: a burst, and how many a second for good. */
  readonly healLimit?: { readonly burst: number; readonly perSecond: number };
}

export interface Concern {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
}

/** A kind whose own types are known to itself only: what the registry holds and the loop runs. */
export type AnyKind = Kind<Record<string, unknown>, unknown>;

/** Checks a kind against the contract and forgets its own types. The only cast that the contract needs. */
export function defineKind<S extends object, O, P extends PortName, B, M = never>(
  kind: Kind<S, O, P, B, M>,
): AnyKind {
  return kind as unknown as AnyKind;
}

/** Whether two claims concern the same thing: equal, or one is a whole of which the other is a part. */
export function claimsOverlap(a: Claim, b: Claim): boolean {
  if (a === b) return true;
  const [short, long] = a.length < b.length ? [a, b] : [b, a];
  return long.startsWith(short) && (long[short.length] === '/' || long[short.length] === '#');
}

/** One line for people, without text. */
export function describeChange(change: Change): string {
  return change.from === ''
    ? `${change.what}: ${change.to}`
    : `${change.what}: ${change.from} → ${change.to}`;
}
