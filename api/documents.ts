// The documents that people write in git. Schemas are strict and transform nothing: what was written is what is
// rendered, so a diagnostic can always point at the place that is wrong. A kind's own `spec` is in kinds/.
import * as z from 'zod';

export const API_VERSION = 'homeostat.dev/v1';

/** A document's, host's or label's name: what DNS allows for a label, with dots, at most 63 characters. */
export const Name = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$/,
    'a name has lower-case letters, digits, "-" and ".", begins and ends with a letter or digit, and has at most 63 characters',
  );

/** `Kind/name`: how one document names another. */
export const Ref = z
  .string()
  .regex(
    /^[A-Z][A-Za-z0-9]*\/[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$/,
    'a reference is Kind/name, as in File/motd',
  );

export const Labels = z.record(z.string().min(1).max(63), z.string().max(253));
const Vars = z.record(
  z.string().regex(/^[A-Za-z_][A-Za-z0-9_-]*$/, 'a variable name has letters, digits, "_" and "-"'),
  z.union([z.string(), z.number(), z.boolean()]),
);

/** In the first document of a file; those after it may leave it out. */
const apiVersion = z.literal(API_VERSION).optional();

/** Annotation, "true": the document is for labels that no host may have today, and may go nowhere without a warning. */
export const OPTIONAL_ANNOTATION = 'homeostat.dev/optional';

const Metadata = z.strictObject({
  name: Name,
  labels: Labels.optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});

const LabelKey = z.string().min(1).max(63);
const values = z.array(z.string().max(253)).min(1);

/**
 * One requirement on a host's labels, as in a Kubernetes LabelSelector: NotIn holds for hosts without the label too.
 * https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/label-selector/
 */
export const LabelRequirement = z.discriminatedUnion('operator', [
  z.strictObject({ key: LabelKey, operator: z.enum(['In', 'NotIn']), values }),
  z.strictObject({
    key: LabelKey,
    operator: z.enum(['Exists', 'DoesNotExist']),
    values: z
      .never('Exists and DoesNotExist have no values: leave them out, or write In or NotIn')
      .optional(),
  }),
]);
export type LabelRequirement = z.infer<typeof LabelRequirement>;

const matchLabels = Labels.refine((l) => Object.keys(l).length > 0, 'name at least one label');
const matchExpressions = z.array(LabelRequirement).min(1);

/** All of it must hold. */
export type LabelSelector = {
  readonly matchLabels?: z.infer<typeof matchLabels> | undefined;
  readonly matchExpressions?: z.infer<typeof matchExpressions> | undefined;
};

/** Which hosts a document of scope host goes to. `all: true` has to be said in words. */
export const HostSelector = z.union(
  [
    z.strictObject({ matchLabels, matchExpressions: matchExpressions.optional() }),
    z.strictObject({ matchExpressions }),
    z.strictObject({ names: z.array(Name).min(1) }),
    z.strictObject({ all: z.literal(true) }),
  ],
  'hosts is matchLabels: {label: value} and/or matchExpressions: [{key, operator, values}], or names: [host, …], or all: true',
);
export type HostSelector = z.infer<typeof HostSelector>;

export const DependencyUntil = z.strictObject({ ref: Ref, until: z.enum(['Applied', 'Ready']).optional() });

/** `Kind/name` alone waits until that is Ready. */
const Dependency = z.union(
  [Ref, DependencyUntil],
  'a dependency is Kind/name, or {ref: Kind/name, until: Applied}',
);

/**
 * What happens when the document no longer goes to a host: what was created is deleted and what was adopted is put
 * back, or it is left as it is. The default is delete, and orphan for a document with runOn: what the fleet shares is
 * not one host's to reset. Too many removals at once wait for a word (agent/reconcile/world.ts), `freely` ones
 * don't: for documents of a profile, which all leave together when a label is changed.
 */
export const Prune = z.enum(['delete', 'orphan', 'freely']);
export type Prune = z.infer<typeof Prune>;

/** What every document that becomes a resource on a host has around its `spec`. */
export const ResourceDocument = z.strictObject({
  apiVersion,
  kind: z.string(),
  metadata: Metadata,
  /** Of a Profile, whose fields it has where it does not give them itself. */
  profile: Name.optional(),
  hosts: HostSelector.optional(),
  runOn: Name.optional(),
  dependsOn: z.array(Dependency).optional(),
  drift: z.enum(['enforce', 'warn']).optional(),
  prune: Prune.optional(),
  suspend: z.boolean().optional(),
  spec: z.unknown(),
});
export type ResourceDocument = z.infer<typeof ResourceDocument>;

/**
 * What several documents have in common: those that name it have its fields, where they do not give them themselves, and
 * its OPTIONAL_ANNOTATION. The controller fills them in, and hosts never see it (docs/decisions/0077).
 */
export const ProfileDocument = z.strictObject({
  apiVersion,
  kind: z.literal('Profile'),
  metadata: Metadata,
  profile: z.never('a Profile names no other: write here what that one says').optional(),
  hosts: HostSelector.optional(),
  runOn: Name.optional(),
  /** Beside the document's own; of one that both name, the document's holds. */
  dependsOn: z.array(Dependency).optional(),
  prune: Prune.optional(),
  /** Fields of their spec, each as a whole. */
  spec: z.record(z.string(), z.unknown()).optional(),
});
export type ProfileDocument = z.infer<typeof ProfileDocument>;

/** Public half of an age identity (age-encryption.org/v1). Its complaint shows no value: it might be the private half. */
const AgeRecipient = z
  .string()
  .refine(
    (text) => /^age1(?:(?:pq|tag|tagpq)1)?[02-9ac-hj-np-z]{50,}$/.test(text),
    'a recipient begins with "age1", as `homeostat enroll` prints it; an AGE-SECRET-KEY is its private half and never belongs into git',
  );

export const Mode = z.enum(['observe', 'enforce']);

const HostSpec = z.strictObject({
  /** The host's tailnet address, as `${host.address}`. */
  address: z.union([z.ipv4(), z.ipv6()]).optional(),
  /** StableNodeID in the tailnet; requests for this host must then come from that node. */
  nodeID: z.string().min(1).optional(),
  /** The agent's Ed25519 public key, base64 of its 32 bytes; wins over the key recorded at enrolment. */
  publicKey: z
    .string()
    .regex(/^[A-Za-z0-9+/]{43}=$/, 'a public key is 44 characters of base64, as `homeostat keygen` prints it')
    .optional(),
  /** To whom `homeostat secret encrypt` encrypts what this host may read; `homeostat enroll` prints it. */
  ageRecipient: AgeRecipient.optional(),
  vars: Vars.optional(),
  /** A new host observes: it reports what it would do and touches nothing. */
  mode: Mode.optional(),
  /** Empties the host: everything that homeostat created goes, what it adopted is put back. */
  decommission: z.boolean().optional(),
  /** Digests of large removals that were looked at and are meant (the agent's status names them). */
  confirmRemovals: z
    .array(z.string().regex(/^[0-9a-f]{12}$/, 'a removal digest has 12 hex digits'))
    .optional(),
});
export const HostDocument = z.strictObject({
  apiVersion,
  kind: z.literal('Host'),
  metadata: Metadata,
  spec: HostSpec,
});
export type HostDocument = z.infer<typeof HostDocument>;

/** A job of Prometheus, whose targets are `${targets.JOB}` and GET /sd/JOB. */
export const ScrapeJob = z.strictObject({
  job: z
    .string()
    .regex(
      /^[A-Za-z_][A-Za-z0-9_.-]{0,62}$/,
      'a job has letters, digits, "_", "-" and ".", begins with a letter, and has at most 63 characters',
    ),
  /** On the host's address. */
  port: z.int().min(1).max(65535),
  /** Default: /metrics. */
  path: z.string().startsWith('/', 'a path begins with /, as in /metrics').max(1024).optional(),
  /** Default: every host that has an address. */
  hosts: HostSelector.optional(),
  /** Beside `host`, which is the name of the Host document; values may hold `${host.name}` and the like. */
  labels: z
    .record(
      z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,62}$/, 'a label of Prometheus has letters, digits and "_"'),
      z.string().max(253),
    )
    .optional(),
});
export type ScrapeJob = z.infer<typeof ScrapeJob>;

const FleetSpec = z.strictObject({
  vars: Vars.optional(),
  /** Tailnet logins that may use the operators' routes. */
  operators: z.array(z.string().min(1)).optional(),
  /** Public keys of people, age1…, to whom every secret is encrypted too, so that they can edit it. */
  secretRecipients: z.array(AgeRecipient).optional(),
  /** Jobs of Prometheus that follow the Host documents. */
  scrape: z.array(ScrapeJob).max(200).optional(),
});
export const FleetDocument = z.strictObject({
  apiVersion,
  kind: z.literal('Fleet'),
  metadata: Metadata,
  spec: FleetSpec,
});
export type FleetDocument = z.infer<typeof FleetDocument>;

const AGE_ARMOR =
  /^\s*-----BEGIN AGE ENCRYPTED FILE-----\s[A-Za-z0-9+/=\s]+-----END AGE ENCRYPTED FILE-----\s*$/;
export function isAgeArmor(text: string): boolean {
  return AGE_ARMOR.test(text);
}

/** Where the host finds a secret; its value never leaves the host. */
export const SecretSource = z.union(
  [
    z.strictObject({ file: z.string().startsWith('/', 'a secret file is named by its absolute path') }),
    z.strictObject({ env: z.string().min(1) }),
    z.strictObject({ credential: z.string().regex(/^[A-Za-z0-9_.-]+$/) }),
    // By a function, since its complaint must not show what was written: it may be a secret that nobody encrypted.
    z.strictObject({
      age: z.string().refine(isAgeArmor, {
        error:
          'it is not age ciphertext in armor (BEGIN AGE ENCRYPTED FILE): `homeostat secret encrypt` makes it; a value that stood here in the clear is to be changed',
      }),
      /** Where the controller found the ciphertext, for messages. */
      ageFrom: z.string().min(1).optional(),
    }),
    z.strictObject({ ageFrom: z.string().min(1) }),
  ],
  'secretFrom is one of file: /path, env: NAME, credential: name (systemd LoadCredential), ageFrom: path of an encrypted file beside the manifest, or age: ciphertext',
);
export type SecretSource = z.infer<typeof SecretSource>;
export const SecretRef = z.strictObject({ secretFrom: SecretSource });
export type SecretRef = z.infer<typeof SecretRef>;

export function isSecretRef(value: unknown): value is SecretRef {
  if (typeof value !== 'object' || value === null || !('secretFrom' in value)) return false;
  return typeof value.secretFrom === 'object' && value.secretFrom !== null;
}

/** Text written here, or read by the controller from a file beside the manifest. */
export const contentFields = {
  content: z.union([z.string(), SecretRef]).optional(),
  contentFrom: z.string().min(1).optional(),
};
