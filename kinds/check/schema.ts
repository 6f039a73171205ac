import * as z from 'zod';
import { SecretRef } from '../../api/documents.ts';
import { Address, Duration } from '../fields.ts';

const Url = z.url({ protocol: /^https?$/, error: 'a URL begins with http:// or https://' }).max(2048);

const request = {
  /** By name; a value may be a secret. */
  headers: z
    .record(
      z.string().regex(/^[A-Za-z0-9-]+$/, 'a header name has letters, digits and "-"'),
      z.union([z.string().regex(/^[^\p{Cc}]*$/u, 'a header’s value is one line'), SecretRef]),
    )
    .optional(),
  /** Sent as `Authorization: Bearer …`. */
  bearerToken: SecretRef.optional(),
};

const Expectation = z.strictObject({
  /** The query must return nothing at all. */
  empty: z.literal(true).optional(),
  atLeast: z.number().optional(),
  atMost: z.number().optional(),
  equals: z.number().optional(),
  /** Which samples must be so; default every, and there must be one at least. */
  of: z.enum(['every', 'any']).optional(),
});
export type Expectation = z.infer<typeof Expectation>;

const Query = z.strictObject({
  /** Of the API, as http://127.0.0.1:9090 or http://127.0.0.1:3100; a path before /api or /loki is kept. */
  url: Url,
  query: z.string().min(1).max(10_000),
  /** Default: the query returns something. */
  expect: Expectation.optional(),
  ...request,
});
export type Query = z.infer<typeof Query>;

const HttpCheck = z.strictObject({
  url: Url,
  /** Whether a failure quotes the beginning of the body, 160 characters; default false. */
  quote: z.boolean().optional(),
  /** Default GET. */
  method: z.enum(['GET', 'HEAD', 'POST']).optional(),
  /** One status or a list of them; default any from 200 to 299. Redirects are not followed. */
  status: z
    .union(
      [z.int().min(100).max(599), z.array(z.int().min(100).max(599)).min(1)],
      'status is one HTTP status, as 200, or a list of them',
    )
    .optional(),
  /** A text that the body must have in it. */
  contains: z.string().min(1).optional(),
  /**
   * A regular expression (of RE2, so without lookaround and references back) that some line of the body must fit; of a
   * very long body or line the beginning is looked at.
   */
  matches: z.string().min(1).optional(),
  ...request,
});
export type HttpCheck = z.infer<typeof HttpCheck>;

export const CheckSpec = z.strictObject({
  http: HttpCheck.optional(),
  /** A connection is made, and closed again. */
  tcp: z.strictObject({ address: Address }).optional(),
  promql: Query.optional(),
  /** A metric query, as count_over_time({job="journal"}[15m]). */
  logql: Query.optional(),
  /** How often it is asked; default 1m. */
  interval: Duration.optional(),
  /** For how long it must fail before it counts as failed; default 0s. */
  for: Duration.optional(),
  /** How long an answer may take; default 10s. */
  timeout: Duration.optional(),
});
export type CheckSpec = z.infer<typeof CheckSpec>;
