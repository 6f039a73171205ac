import * as z from 'zod';

/** What the controller answers with every status from 400 on. */
export const ErrorBody = z.object({ error: z.object({ code: z.string(), message: z.string() }) });
