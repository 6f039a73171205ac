import * as z from 'zod';
import { SecretRef } from '../../api/documents.ts';

export const TailnetPolicySpec = z.strictObject({
  /** The policy file, HuJSON. */
  content: z.string().optional(),
  contentFrom: z.string().min(1).optional(),
  /** Organisation name; default "-": the tailnet that the credentials belong to. */
  tailnet: z
    .string()
    .regex(/^(?:-|[A-Za-z0-9][A-Za-z0-9._@+-]*)$/, 'a tailnet is "-" or an organisation name, as example.com')
    .optional(),
  /** Origin of the API; default https://api.tailscale.com. */
  api: z
    .string()
    .regex(/^https?:\/\/[^/?#\s@]+$/, 'an API is named by its origin, as https://api.tailscale.com')
    .optional(),
  /** An OAuth client with the scope policy_file. */
  oauth: z
    .strictObject({ clientID: z.union([z.string().min(1), SecretRef]), clientSecret: SecretRef })
    .optional(),
  /** Instead of an OAuth client: an API access token, which expires after 90 days at most. */
  apiKey: SecretRef.optional(),
  /**
   * What this document was made from: the ETag of the policy that was on the server, or ts-default for a tailnet
   * whose policy nobody ever edited. Only that one is overwritten the first time.
   */
  importedFrom: z
    .string()
    .regex(
      /^(?:ts-default|[0-9a-f]{64})$/,
      'it is ts-default, or 64 hex digits as `homeostat import tailnet-policy` writes them',
    )
    .optional(),
  /** How often the API is asked whether somebody edited the policy; default 60. */
  pollSeconds: z.int().min(10).max(3600).optional(),
});
export type TailnetPolicySpec = z.infer<typeof TailnetPolicySpec>;
