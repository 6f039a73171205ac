import type { AgentStatus } from '../../api/status.ts';

/** What an agent reports that runs what it was given, of which nothing is to be said. */
export function statusOf(host: string, over: Partial<AgentStatus> = {}): AgentStatus {
  return {
    host,
    at: '2026-11-23T12:00:00Z',
    agent: { version: '1', kinds: ['File'], platform: 'linux-x64', startedAt: '2026-11-23T11:00:00Z' },
    mode: 'enforce',
    sequence: { desired: 1, attempted: 1, running: 1 },
    commit: { desired: 'a', running: 'a' },
    conditions: [],
    resources: [],
    events: [],
    ...over,
  };
}
