// One-shot calls of a controller: a fault that passes (a restart of it, a lost packet) is no reason to give up, and an
// answer is an answer.
import pRetry, { AbortError } from 'p-retry';
import { errnoOf, inWords } from '../api/errors.ts';
import { isThrownByProgram } from './failure.ts';

const PASSING = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);
const AT_LEAST_MS = 250;

/** @param call may be made several times: what it asks for must be the same to the controller if it comes twice. */
export function patiently<T>(call: () => Promise<T>): Promise<T> {
  const attempt = async (): Promise<T> => {
    try {
      return await call();
    } catch (error) {
      const passes =
        PASSING.has(errnoOf(error)) || /^UND_ERR_(?:SOCKET|CONNECT_TIMEOUT)$/.test(errnoOf(error));
      throw passes ? error : new AbortError(error instanceof Error ? error : String(error));
    }
  };
  return pRetry(attempt, { retries: 2, minTimeout: AT_LEAST_MS, factor: 3 });
}

/**
 * What to throw when a call of a controller failed: why it could not be reached, and what to do. What is a defect of
 * ours stays what it is.
 */
export function unreached(controller: string, error: unknown, wayOn: string): unknown {
  if (isThrownByProgram(error)) return error;
  return new Error(`the controller at ${controller} can't be reached: ${inWords(error)}; ${wayOn}`);
}
