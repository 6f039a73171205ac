// The controller image's health check: exit code 0 when the URL answers with 200.
const answer = await fetch(process.argv[2], { signal: AbortSignal.timeout(4000) }).catch(() => undefined);
process.exitCode = answer?.status === 200 ? 0 : 1;
