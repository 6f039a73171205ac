import * as z from 'zod';
import { contentFields } from '../../api/documents.ts';
import { AbsolutePath, Account, Mode } from '../fields.ts';

export const FileSpec = z.strictObject({
  path: AbsolutePath,
  /** What stands at the path; default: a regular file. */
  type: z.enum(['file', 'directory', 'symlink']).optional(),
  ...contentFields,
  /** Where a symlink points; relative to its own directory, or absolute. */
  target: z
    .string()
    .max(4096)
    .regex(
      /^(?:\.\.\/)*(?:\.\.|(?!.*(?:^|\/)\.\.(?:\/|$))[^\p{Cc}\p{Zl}\p{Zp}]+)$/su,
      'a target is a path of one line, with ".." at its beginning only: behind a name it may lead anywhere',
    )
    .optional(),
  /** Octal, as text; default 0644, for a directory 0755. */
  mode: Mode.optional(),
  /** Default: as it is, for a new file the agent's own. */
  owner: Account.optional(),
  group: Account.optional(),
  /** Keep the inode: for a file that is mounted into a container on its own. Readers may see half of it. */
  inPlace: z.boolean().optional(),
});
export type FileSpec = z.infer<typeof FileSpec>;
