// A prometheus.yml as people keep one, and what a diff shows of a change to it.
import assert from 'node:assert/strict';
import { createTwoFilesPatch } from 'diff';

/** Long, commented and hand-indented, as people's files are. */
export const THEIRS = `# Prometheus on the mac -- ask Anna before touching the alerts!
global:
    scrape_interval:   15s   # was 10s
    evaluation_interval: 15s

alerting:
    alertmanagers:
        - static_configs:
              - targets: ['127.0.0.1:9093']

rule_files:
    - alerts/*.yml      # all of them

# --- what we scrape --------------------------------------------
scrape_configs:

    # Prometheus itself
    - job_name: 'prometheus'
      static_configs:
          - targets: ['127.0.0.1:9090']


    - job_name: cadvisor            # heavy, keep at 60s
      scrape_interval: 60s
      static_configs:
          - targets:
                - 127.0.0.1:8080
      # metric_relabel_configs:
      #     - source_labels: [__name__]

    # -- two at once,\twith a tab in the comment
    - {job_name: flow, static_configs: [{targets: ['127.0.0.1:1', '127.0.0.1:2']}]}
    - job_name: "quoted"
      static_configs: [
        {targets: ['127.0.0.1:3'], labels: {team: "x, y # z"}},
      ]
#   - job_name: switched-off
#     static_configs: [{targets: ['127.0.0.1:1']}]

# --- long-term storage, off for now ----------------------------
#remote_write:
#    - url: http://elsewhere/

storage:
    tsdb:
        out_of_order_time_window: 30m
`;

/** The lines that were added. @throws when anything of theirs is taken away */
export function added(before: string, after: string): string[] {
  const patch = createTwoFilesPatch('a', 'b', before, after).split('\n');
  assert.deepEqual(
    patch.filter((l) => /^-(?!--)/.test(l)),
    [],
    'nothing of theirs is taken away',
  );
  return patch.filter((l) => /^\+(?!\+\+)/.test(l)).map((l) => l.slice(1));
}
