import * as z from 'zod';
import { AbsolutePath } from '../fields.ts';

const Fingerprint = z
  .string()
  .regex(
    /^(?:[0-9A-Fa-f] *){40}$|^(?:[0-9A-Fa-f] *){64}$/,
    'a fingerprint has 40 hexadecimal digits (64 for keys of version 5 and 6), as gpg --show-keys prints it; a key id is too short to pin a key',
  );

/** Of one word each: they are written into a line of the source file. */
const word = (what: string) =>
  z
    .string()
    .max(1024)
    .regex(/^[^\s\p{Cc}#[\]]+$/u, `${what}, without blanks`);

export const AptRepositorySpec = z.strictObject({
  /** Of its files: /etc/apt/sources.list.d/NAME.sources and /etc/apt/keyrings/NAME.gpg. */
  name: z
    .string()
    .max(100)
    .regex(
      /^[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9_-])?$/,
      'a name has letters, digits, "_", "-" and ".": apt ignores other files',
    ),
  /** Default: deb alone. */
  types: z
    .array(z.enum(['deb', 'deb-src']))
    .min(1)
    .optional(),
  uris: z
    .array(
      z
        .string()
        .max(1024)
        .regex(
          /^(?:https?|file|copy):\/[^\s\p{Cc}#[\]]+$/u,
          'a URI as https://apt.grafana.com: http, https, file or copy',
        ),
    )
    .min(1),
  suites: z.array(word('a suite as "stable"; a directory ends in "/"')).min(1),
  /** None for a suite that is a directory. */
  components: z.array(word('a component as "main"')).optional(),
  /** Default: those of the host. */
  architectures: z.array(word('an architecture as "arm64"')).optional(),
  /** How the source is written: deb822 (.sources), or one-line (.list) for what can't read that. Default deb822. */
  format: z.enum(['deb822', 'one-line']).optional(),
  key: z.strictObject({
    /** Of the primary key; of each, where there are several. Other keys beside them are left out. */
    fingerprint: z.union([Fingerprint, z.array(Fingerprint).min(1)]),
    /** Armoured, or base64 of the binary form. */
    content: z.string().optional(),
    contentFrom: z.string().min(1).optional(),
    /** A file on the host, which is read and not used in its place. */
    file: AbsolutePath.optional(),
    /** Fetched by the host when it has no key yet, and when the one that it has expired. */
    url: z.url({ protocol: /^https?$/ }).optional(),
  }),
  /** Days before the key expires that KeyExpiry begins to warn; default 30. */
  keyExpiryWarningDays: z.number().int().positive().optional(),
});
export type AptRepositorySpec = z.infer<typeof AptRepositorySpec>;
