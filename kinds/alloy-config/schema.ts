import * as z from 'zod';
import { contentFields, SecretRef } from '../../api/documents.ts';
import {
  AbsolutePath,
  Account,
  Address,
  ContainerName,
  ImageReference,
  Manager,
  Mode,
  UnitName,
} from '../fields.ts';

/** Of the least stable first: a level allows itself and what is more stable. Alloy's own default is the last. */
export const STABILITY_LEVELS = ['experimental', 'public-preview', 'generally-available'] as const;

/** How Alloy's API is asked, where the config has an http block: a password, TLS. */
const Http = z.strictObject({
  /** As in the config's http { auth { basic } }; the password by secretFrom. */
  basicAuth: z
    .strictObject({
      username: z.string().regex(/^[^:\p{Cc}]+$/u, 'a user name has no ":"'),
      password: SecretRef,
    })
    .optional(),
  /** The API speaks TLS (http { tls }). */
  tls: z
    .strictObject({
      /** Whom to trust, in PEM: the text itself, or secretFrom with the file that it is in. Default: the system's authorities. */
      ca: z
        .union([
          z.string().regex(/^\s*-----BEGIN CERTIFICATE-----/, 'a CA is given in PEM (BEGIN CERTIFICATE)'),
          SecretRef,
        ])
        .optional(),
      /** The name in its certificate, where that is not the one in `address`. */
      serverName: z
        .string()
        .regex(/^[A-Za-z0-9.:-]+$/, 'a server name is a host name or an address')
        .optional(),
    })
    .optional(),
});

export const AlloyConfigSpec = z.strictObject({
  /** Default /etc/alloy/config.alloy; with `files` the directory that they lie in, default /etc/alloy. */
  path: AbsolutePath.optional(),
  ...contentFields,
  /** Several files of a directory that Alloy loads as a whole, by name, instead of content. */
  files: z
    .record(
      z
        .string()
        .max(200)
        .regex(
          /^[A-Za-z0-9_][A-Za-z0-9_.-]*\.alloy$/,
          'a file of the directory is named as main.alloy: Alloy loads only names that end in .alloy',
        ),
      z.strictObject(contentFields),
    )
    .optional(),
  /** Whether Alloy loads the whole directory that `path` is in; default: as the Alloy that runs. */
  directory: z.boolean().optional(),
  /** Octal, as text; default 0644, and 0640 where a group is named. */
  mode: Mode.optional(),
  /** Default: as it is, for a new file the agent's own. */
  owner: Account.optional(),
  group: Account.optional(),
  /** Keep the inode: for a config that is mounted into a container as a single file. */
  inPlace: z.boolean().optional(),
  /** Where Alloy serves its API (--server.http.listen-addr); default 127.0.0.1:12345. */
  address: Address.optional(),
  /** What it takes to ask it there. */
  http: Http.optional(),
  /** The unit whose start and stop make a difference; default alloy.service. */
  unit: UnitName.optional(),
  /** Who runs the unit; `none` for an Alloy that only its address is known of. Default systemd. */
  manager: z.union([Manager, z.literal('none')]).optional(),
  /** The program that validates; default `alloy`, looked for on PATH. */
  binary: z
    .string()
    .regex(/^(?:\/\S+|[A-Za-z0-9._-]+)$/, 'a program is a name on PATH, or an absolute path')
    .optional(),
  /** The container that Alloy runs in, instead of a unit of this host. */
  container: z
    .strictObject({
      /** As in its Container document, or as the user named it: its starts and stops make a difference. */
      name: ContainerName,
      /** What the config is validated with; default: the image that the container has. */
      image: ImageReference.optional(),
    })
    .optional(),
  /** What Alloy runs with (--stability.level), so that it is validated with the same; default: as the Alloy that runs. */
  stability: z.enum(STABILITY_LEVELS).optional(),
  /** The same for --feature.community-components.enabled. */
  communityComponents: z.boolean().optional(),
});
export type AlloyConfigSpec = z.infer<typeof AlloyConfigSpec>;
