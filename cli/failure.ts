// The one place that turns whatever a command threw into a message for the person who called it. Commands throw
// Errors whose message says what is wrong, where, and what would be right; errors of the system get words; everything
// else is a defect of ours, and is called so.
import { basename } from 'node:path';
import * as z from 'zod';
import { errnoOf, inWords } from '../api/errors.ts';
import { mistakesIn } from '../api/mistakes.ts';

/** Set to anything, the stack is printed too. */
const DEBUG_VARIABLE = 'HOMEOSTAT_DEBUG';
/** As package.json says. */
const OLDEST_NODE = 24;

export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return `this is a defect in homeostat: ${String(error)} was thrown`;
  if (error instanceof z.ZodError) {
    return `this is a defect in homeostat${placeOf(error)}: what was read does not have the right form: ${mistakesIn(error, undefined)}`;
  }
  // A bundle is run by the node that is on PATH.
  if (errnoOf(error) === 'ERR_UNKNOWN_BUILTIN_MODULE')
    return `it needs Node ${OLDEST_NODE} or newer, and ${process.execPath} is ${process.version}: put another before it on PATH, or install the executable`;
  if (isDefect(error)) {
    return `this is a defect in homeostat${placeOf(error)}: ${error.message}; ${DEBUG_VARIABLE}=1 shows more`;
  }
  return inWords(error);
}

/** Reports it and has the process end with 1. */
export function fail(error: unknown): void {
  console.error(`homeostat: ${messageOf(error)}`);
  if (process.env[DEBUG_VARIABLE] !== undefined && error instanceof Error) console.error(error.stack);
  process.exitCode = 1;
}

/** It ends by itself at once, unless a command began something before it failed. */
const LINGER_MS = 1_000;

/**
 * What a command began before it failed (servers, timers) would keep the process, and whoever waits for its end. It is
 * not ended at once: process.exit() waits for V8's workers, and one that compiles may wait for a collection of garbage
 * that only the main thread could make. Two of a hundred failing starts hung so (Node 26, `once --timeout abc`).
 */
export function endIfFailed(): void {
  if (process.exitCode === 1) setTimeout(() => process.exit(), LINGER_MS).unref();
}

/** Of the types that JavaScript throws by itself: what only a program can do wrong. */
export function isThrownByProgram(error: unknown): boolean {
  return [TypeError, RangeError, ReferenceError, SyntaxError].some((type) => error instanceof type);
}

/** Of those types, or Node's own word for what a program asked of it. */
function isDefect(error: Error): boolean {
  return isThrownByProgram(error) || errnoOf(error).startsWith('ERR_');
}

/** As ` (get.ts, line 12)`: the first of our own files in the stack. */
function placeOf(error: Error): string {
  const frame = /^ +at .*?([^\s(]+\.[cm]?[jt]s):(\d+):\d+\)?$/m.exec(
    (error.stack ?? '')
      .split('\n')
      .filter((line) => !/node:|node_modules/.test(line))
      .join('\n'),
  );
  return frame === null ? '' : ` (${basename(frame[1]!)}, line ${frame[2]})`;
}
