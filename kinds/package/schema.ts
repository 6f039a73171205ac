import * as z from 'zod';

/** Debian policy, 5.6.1. */
const PackageName = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9+.-]*[a-z0-9+.]$/,
    'a package’s name has lower-case letters, digits, "+", "-" and ".", and at least two of them',
  );

export const PackageSpec = z.strictObject({
  name: PackageName,
  /**
   * A version, a pattern of one ("1.8.*"), `latest` (the newest that apt knows), or `present` (any). Default present.
   */
  version: z
    .string()
    .regex(/^[A-Za-z0-9.+~:*-]+$/, 'a version as 1.8.3-1, a pattern as "1.8.*", latest or present')
    .optional(),
  /** Whether others are kept from changing its version (apt-mark hold). Default: as it is. */
  hold: z.boolean().optional(),
  /** Whether an older version may take the place of a newer one. Default false. */
  allowDowngrade: z.boolean().optional(),
  /** Other packages that may be removed to make room for this one. Default: none. */
  mayRemove: z.array(PackageName).optional(),
  /** Whether what it recommends is installed, too. Default: as apt is configured. */
  recommends: z.boolean().optional(),
  /** Lists older than this are fetched anew before something is installed, and for `latest`. Default 24. */
  refreshHours: z.number().positive().max(8760).optional(),
  /** Whether its configuration goes with it when it is removed. Default false. */
  purge: z.boolean().optional(),
});
export type PackageSpec = z.infer<typeof PackageSpec>;
