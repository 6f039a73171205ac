// TailnetPolicy: the tailnet's policy file as in git, through Tailscale's API. Nothing is overwritten that nobody here
// has seen: every write names the policy that it replaces (If-Match), and the first one only replaces the policy that
// the document was made from. Removing the document changes nothing: the policy from before is, as a rule, the one that
// lets everything pass.
import * as z from 'zod';
import type { SecretRef } from '../../api/documents.ts';
import { Stalled, Waiting } from '../../api/errors.ts';
import { sha256 } from '../../api/json.ts';
import {
  type Change,
  type Claim,
  type Desired,
  defineKind,
  type Finding,
  type InventoryRecord,
} from '../kind.ts';
import type { Ports } from '../ports.ts';
import { originOf } from '../shared/urls.ts';
import { YES } from '../shared/verdicts.ts';
import { DEFAULT_API, PolicyApi, type PolicyFile, PolicyMoved, UNTOUCHED } from './api.ts';
import { type Hujson, HujsonError, layOut, readHujson, sameHujson } from './hujson.ts';
import { TailnetPolicySpec } from './schema.ts';

type Needs = 'http' | 'clock';
type Io = Pick<Ports, Needs>;
type D = Desired<TailnetPolicySpec, Memory>;

/** Where the policy is and where the secrets for it are; no secret itself. */
const Access = TailnetPolicySpec.pick({ api: true, tailnet: true, oauth: true, apiKey: true });
type Access = z.infer<typeof Access>;

/** How to go back. */
const Before = z.object({ access: Access, text: z.string(), etag: z.string() });
type Before = z.infer<typeof Before>;

/** What the server made of which text of ours: it lays a policy out anew. */
const Memory = z.object({
  etag: z.string(),
  content: z.string(),
  access: Access,
  /** What the server warned of when it took it. */
  warnings: z.array(z.string()).optional(),
});
type Memory = z.infer<typeof Memory>;

const DEFAULT_POLL_S = 60;
const MENDED_ELSEWHERE_MS = 600_000;

export const tailnetPolicy = defineKind<TailnetPolicySpec, PolicyFile, Needs, Before, Memory>({
  kind: 'TailnetPolicy',
  scope: 'fleet',
  orphanOnly: true,
  spec: TailnetPolicySpec,
  before: { version: 1, schema: Before },
  memory: { version: 1, schema: Memory },
  needs: ['http', 'clock'],
  secretsOnlyOpen: true,
  healLimit: { burst: 5, perSecond: 1 / 300 },

  place: placeOf,
  owns: (spec) => [placeOf(spec)],
  permissions: ({ api = DEFAULT_API }) => [
    { type: 'url', value: originOf(api), why: 'the tailnet’s policy is written there' },
  ],

  check(spec) {
    const findings: Finding[] = [];
    if ((spec.content === undefined) === (spec.contentFrom === undefined)) {
      findings.push({
        path: [],
        message: 'give either content or contentFrom: a policy file beside the manifest, as policy.hujson',
      });
    } else if (spec.content !== undefined) findings.push(...checkPolicy(spec.content));
    if ((spec.oauth === undefined) === (spec.apiKey === undefined)) {
      findings.push({
        path: [],
        message: 'give either oauth: {clientID, clientSecret} or apiKey: what the API is asked with',
      });
    }
    if (/^http:\/\/(?!127\.|localhost|\[::1\])/.test(spec.api ?? '')) {
      findings.push({
        path: ['api'],
        message: 'the secret would go over the network unencrypted: use https',
        severity: 'warning',
      });
    }
    return findings;
  },

  observe: (d, io, signal) => apiFor(d.spec, d.content, io).get(signal),

  diff: differences,

  // A policy is in force when the server has it; one that can't be read makes observe throw.
  assess: () => YES,

  async prepare(d, observed, io, signal) {
    // Whether a policy is untouched is known to the server only, which the write itself asks.
    if (differences(d, observed).length > 0) replacedBy(d, observed);
    await apiFor(d.spec, d.content, io).validate(d.spec.content!, signal);
    return { existed: true, before: { access: accessOf(d.spec), ...observed } };
  },

  async apply(changes, d, io, signal) {
    const [change] = changes;
    if (change === undefined) return undefined; // a policy is in force when it is written
    const api = apiFor(d.spec, d.content, io);
    try {
      const warnings = [...(await api.validate(d.spec.content!, signal))];
      const now = await api.get(signal);
      if (shown(now) !== change.text?.before) throw new PolicyMoved();
      const { etag } = await replace(api, d, now, signal);
      return { etag, content: sha256(d.spec.content!), access: accessOf(d.spec), warnings };
    } catch (error) {
      // Nothing was written that would have to be undone.
      throw error instanceof Stalled && error.reason !== 'Refused' ? later(error) : error;
    }
  },

  async undo(before, { memory, content }, io, signal) {
    // The secrets may be elsewhere now than when the snapshot was made.
    const api = apiFor(isAbout(memory, before.access) ? memory.access : before.access, content, io);
    const now = await api.get(signal);
    if (shown(now) === shown(before)) return;
    if (before.text.trim() === '') throw new Stalled('NothingToRestore', 'there was no policy to put back');
    await api.replace(before.text, now.etag, signal);
  },

  conditions({ spec, memory }) {
    const isOurs = isAbout(memory, spec) && memory.content === sha256(spec.content!);
    const { warnings = [] } = isOurs ? memory : {};
    if (warnings.length === 0) return [];
    const message = `Tailscale took it, and warns: ${warnings.join('; ')}`;
    return [{ type: 'PolicyWarnings', status: 'True', reason: 'Warned', message }];
  },

  // The API has no events: it is asked.
  async watch(d, io, wake, signal) {
    const everyMs = (d.spec.pollSeconds ?? DEFAULT_POLL_S) * 1000;
    const api = apiFor(d.spec, d.content, io);
    let known: string | undefined;
    while (!signal.aborted) {
      let waitMs = everyMs;
      let failure: unknown;
      try {
        const etag = await api.etag(known, signal);
        if (etag !== known) wake();
        known = etag;
      } catch (error) {
        if (error instanceof Waiting) waitMs = Math.max(everyMs, error.afterMs);
        else failure = error;
      }
      await io.clock.sleep(waitMs, signal).catch(() => undefined);
      // Only now: whoever arms this again does so at once.
      if (failure !== undefined && !signal.aborted) throw failure;
    }
  },
});

/** Pure; [] means in sync. */
function differences({ spec, memory }: D, observed: PolicyFile): Change[] {
  const content = spec.content!;
  if (memory?.etag === observed.etag && memory.content === sha256(content)) return [];
  const [there, wanted] = [read(observed.text), read(content)];
  if (there !== undefined && wanted !== undefined && sameHujson(there, wanted)) return [];
  return [
    {
      what: 'policy',
      from: `another one (ETag ${observed.etag.slice(0, 12)})`,
      to: 'as in git',
      text: {
        before: shown(observed),
        after: wanted === undefined ? content : layOut(wanted),
        secret: false,
      },
    },
  ];
}

function placeOf({ api = DEFAULT_API, tailnet = '-' }: Access): Claim {
  return `tailnet:${api}/${tailnet}`;
}

function isAbout(memory: Memory | undefined, access: Access): memory is Memory {
  return memory !== undefined && placeOf(memory.access) === placeOf(access);
}

function apiFor(access: Access, content: InventoryRecord['content'], io: Io): PolicyApi {
  const reveal = (value: string | SecretRef): string => content(value).bytes.toString().trim();
  const { oauth, apiKey } = access;
  return new PolicyApi(io, access, {
    ...(oauth === undefined
      ? {}
      : { oauth: { clientID: reveal(oauth.clientID), clientSecret: reveal(oauth.clientSecret) } }),
    ...(apiKey === undefined ? {} : { apiKey: reveal(apiKey) }),
  });
}

function accessOf({ api, tailnet, oauth, apiKey }: TailnetPolicySpec): Access {
  return {
    ...(api && { api }),
    ...(tailnet && { tailnet }),
    ...(oauth && { oauth }),
    ...(apiKey && { apiKey }),
  };
}

const NOTHING_SAID = 'the policy on the server is not the one in git, and nothing says that it may go';
const EDITED_SINCE = 'the policy on the server is not the one that this document was made from';
const TOUCHED = `importedFrom says ${UNTOUCHED}, and the policy on the server was edited since`;

/** Whether nothing of ours was ever there, as far as this host knows. */
function isFirst({ known, memory, spec }: D): boolean {
  return known !== true && !isAbout(memory, spec);
}

/** The ETag that a write has to find: at the first one that of the policy the document was made from. */
function replacedBy(d: D, there: PolicyFile): string {
  if (!isFirst(d)) return there.etag;
  const { importedFrom } = d.spec;
  if (importedFrom === UNTOUCHED || importedFrom === there.etag) return importedFrom;
  throw notImported(importedFrom === undefined ? NOTHING_SAID : EDITED_SINCE, there);
}

async function replace(api: PolicyApi, d: D, now: PolicyFile, signal: AbortSignal): Promise<PolicyFile> {
  const replaced = replacedBy(d, now);
  try {
    return await api.replace(d.spec.content!, replaced, signal);
  } catch (error) {
    throw error instanceof PolicyMoved && replaced === UNTOUCHED ? notImported(TOUCHED, now) : error;
  }
}

/** For a refusal while a change is on its way: somebody mends it elsewhere, and git need not change for that. */
function later({ reason, message }: Stalled): Waiting {
  return new Waiting(reason, message, MENDED_ELSEWHERE_MS);
}

function notImported(why: string, { etag }: PolicyFile): Stalled {
  return new Stalled(
    'NotImported',
    `${why} (its ETag is ${etag}); nothing was written. Run \`homeostat import tailnet-policy\` and merge what it writes with what is in git; for a tailnet that still has Tailscale’s default policy write importedFrom: ${UNTOUCHED}; where another host kept this very policy until now (runOn and the content were changed together), write importedFrom: ${etag}`,
  );
}

function checkPolicy(text: string): Finding[] {
  const path = ['content'];
  let policy: Hujson;
  try {
    policy = readHujson(text);
  } catch (error) {
    if (!(error instanceof HujsonError)) throw error;
    const { message, line, column } = error;
    return [{ path, message, place: { line, column } }];
  }
  const findings: Finding[] = policy.duplicates.map(({ name, line, column }) => ({
    path,
    message: `"${name}" stands twice in this object, and only the last one counts: make them one`,
    severity: 'warning',
    place: { line, column },
  }));
  const warn = (message: string): unknown => findings.push({ path, message, severity: 'warning' });
  // Go reads names of members whatever their case, and older policies have "ACLs" and "Tests".
  const sections = new Map([...policy.sections].map(([name, value]) => [name.toLowerCase(), value]));
  const tests = sections.get('tests');
  if (!Array.isArray(tests) || tests.length === 0) {
    warn(
      'the policy has no tests: add a "tests" section, and Tailscale refuses a policy that would cut it off',
    );
  }
  if (!sections.has('acls') && !sections.has('grants')) {
    warn('the policy has neither acls nor grants: say what may pass, or "acls": [] for nothing');
  }
  return findings;
}

function read(text: string): Hujson | undefined {
  try {
    return readHujson(text);
  } catch {
    return undefined;
  }
}

function shown({ text }: { readonly text: string }): string {
  const policy = read(text);
  return policy === undefined ? text : layOut(policy);
}
