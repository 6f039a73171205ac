import * as z from 'zod';
import { contentFields } from '../../api/documents.ts';
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

export const AlloyConfigSpec = z.strictObject({
  /** Default /etc/alloy/config.alloy. */
  path: AbsolutePath.optional(),
  ...contentFields,
  /** Octal, as text; default 0644, and 0640 where a group is named. */
  mode: Mode.optional(),
  /** Default: as it is, for a new file the agent's own. */
  owner: Account.optional(),
  group: Account.optional(),
  /** Keep the inode: for a config that is mounted into a container as a single file. */
  inPlace: z.boolean().optional(),
  /** Where Alloy serves its API (--server.http.listen-addr); default 127.0.0.1:12345. */
  address: Address.optional(),
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
  /** What Alloy runs with (--stability.level), so that it is validated with the same. */
  stability: z.enum(['experimental', 'public-preview', 'generally-available']).optional(),
});
export type AlloyConfigSpec = z.infer<typeof AlloyConfigSpec>;
