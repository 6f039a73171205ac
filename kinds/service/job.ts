// A manager's job: waited for briefly, since a job may take as long as it likes, and no pass should.
import { type Clock, JobFailed, type UnitJob, type Units } from '../ports.ts';

/** Most jobs are over in milliseconds; how a longer one goes on is observed, as anything else. */
const WAIT_MS = 5_000;

/** Has the job run, and returns at its end, or when it takes long: it goes on then. @throws JobFailed */
export async function runJob(
  job: UnitJob,
  unit: string,
  units: Units,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const enough = new AbortController();
  const timer = clock.setTimeout(() => enough.abort(), WAIT_MS);
  try {
    await units.run(job, unit, AbortSignal.any([signal, enough.signal]));
  } catch (error) {
    if (error instanceof JobFailed || signal.aborted || !enough.signal.aborted) throw error;
  } finally {
    timer.cancel();
  }
}
