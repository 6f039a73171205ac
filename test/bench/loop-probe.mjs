// Loaded into the controller's process by --import: how long its event loop stood still, asked for over IPC. Each answer
// begins anew. By the clock, as monitorEventLoopDelay has it, which on a busy machine is also what other programs did; and
// by the processor time that the thread took between two turns, which is its own.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

const RESOLUTION_MS = 2;

// The controller's other threads load this too.
if (isMainThread) {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  let before = process.threadCpuUsage();
  let longestCpu = 0;
  setInterval(() => {
    const { user, system } = process.threadCpuUsage(before);
    longestCpu = Math.max(longestCpu, user + system);
    before = process.threadCpuUsage();
  }, RESOLUTION_MS).unref();
  process.on('message', (message) => {
    if (message !== 'longest') return;
    const longestMs = Math.max(0, histogram.max / 1e6 - RESOLUTION_MS);
    process.send({ longestMs, cpuMs: longestCpu / 1000 });
    histogram.reset();
    longestCpu = 0;
  });
  // What asks must not keep the controller from ending.
  process.channel?.unref();
}
