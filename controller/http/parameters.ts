// What a request says beside its body, checked: whatever is malformed is refused in a sentence.
import type { FastifyRequest } from 'fastify';
import * as z from 'zod';
import { Name } from '../../api/documents.ts';
import { HttpError } from './errors.ts';

const HostParams = z.object({ host: Name });

/** The :host of the path. @throws HttpError */
export function hostOf(request: FastifyRequest): string {
  const parsed = HostParams.safeParse(request.params);
  if (parsed.success) return parsed.data.host;
  throw new HttpError(
    'BadRequest',
    'the path names no host: a host has a name of at most 63 lower-case letters, digits and dashes',
  );
}

/** @throws HttpError */
export function read<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new HttpError('BadRequest', sentenceOf(parsed.error));
}

/** The first few things that are wrong. */
function sentenceOf(error: z.ZodError): string {
  const issues = error.issues
    .slice(0, 3)
    .map(({ path, message }) => (path.length === 0 ? message : `${path.join('.')}: ${message}`));
  const more = error.issues.length - issues.length;
  return `${issues.join('; ')}${more > 0 ? `; and ${more} more` : ''}`.slice(0, 1000);
}
