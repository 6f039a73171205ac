/**
 * The central stack as its owner keeps it on mac-mini before homeostat comes: a compose file and a prometheus.yml that
 * were written by hand, long, commented and indented to taste. Prometheus is Debian's real one in a container; of the
 * exporters only their ports matter here.
 */
import { docker, importImage } from './docker.ts';
import type { LabHost } from './host.ts';

export const STACK = '/root/monitoring-stack';

/** Everything on the host's network: the lab's engine has no bridge. */
export const COMPOSE = `# Monitoring on Ocasia.  by hand, since 2023
#
#   docker compose up -d            (not down: the data is in the volumes)

x-common: &common
    restart: always
    network_mode: host          # Colima has ports here

services:

    # ------------------------------------------------ metrics ----
    prometheus:
        <<: *common
        image: prom/prometheus:v2.42.0
        command:
            - --config.file=/etc/prometheus/prometheus.yml
            - --storage.tsdb.path=/prometheus
            - --storage.tsdb.retention.time=\${RETENTION:-15d}
            - --web.listen-address=0.0.0.0:9090   # the tailnet
        volumes:
            - ./prometheus.yml:/etc/prometheus/prometheus.yml:ro     # one file
            - prometheus-data:/prometheus
        extra_hosts: { tailscale-exporter: 127.0.0.1 }


    # ----------------------------------------------- exporters ----
    ollama-exporter: { <<: *common, image: "ocasia/ollama-exporter:1", command: ["9101"] }

volumes: { prometheus-data: {} }
# the end`;

export const PROMETHEUS = `# prometheus.yml of Ocasia
global:
    scrape_interval: 15s        # was 60s until 2024
    external_labels: { site: home }

rule_files: []

scrape_configs:
    # itself
    - job_name: prometheus
      static_configs:
          - targets: ['localhost:9090']

    # the models
    - job_name: "ollama"        # see ollama-exporter
      scrape_interval: 1m
      static_configs: [{ targets: ["localhost:9101"] }]
`;

const SERVES = `#!/bin/sh
mkdir -p /www && echo "# a stand-in" >/www/metrics
exec httpd -f -p "$1" -h /www
`;

/** It starts only with what the OAuth client consists of, as the real one does. */
const TAILSCALE_EXPORTER = `#!/bin/sh
if [ -z "$TAILSCALE_OAUTH_CLIENT_ID" ] || [ -z "$TAILSCALE_OAUTH_CLIENT_SECRET" ]; then
  echo "no OAuth client" >&2
  exit 1
fi
mkdir -p /www && printf 'tailscale_up{tailnet="%s"} 1\\n' "$TAILSCALE_TAILNET" >/www/metrics && echo ok >/www/index.html
exec httpd -f -p 9250 -h /www
`;

/** @param exporter the image of tailscale-exporter, as the manifests name it. */
export async function startCentralStack(host: LabHost, exporter: string): Promise<void> {
  await importImage(host, 'prom/prometheus:v2.42.0', {
    programs: ['/usr/bin/prometheus'],
    directories: ['/prometheus', '/etc/prometheus'],
    changes: ['ENTRYPOINT ["/usr/bin/prometheus"]'],
  });
  await importImage(host, 'ocasia/ollama-exporter:1', {
    files: { '/bin/serve': SERVES },
    changes: ['ENTRYPOINT ["/bin/serve"]'],
  });
  await importImage(host, exporter, {
    files: { '/bin/exporter': TAILSCALE_EXPORTER },
    changes: ['ENTRYPOINT ["/bin/exporter"]'],
  });
  await host.writeFile(`${STACK}/docker-compose.yml`, COMPOSE);
  await host.writeFile(`${STACK}/prometheus.yml`, PROMETHEUS);
  await userBringsUp(host);
}

/** What the owner types. */
export async function userBringsUp(host: LabHost): Promise<void> {
  await host.exec(['docker', 'compose', 'up', '-d'], { cwd: STACK, check: true, timeout: 120_000 });
}

export async function serviceContainer(host: LabHost, service: string): Promise<string> {
  const filter = `label=com.docker.compose.service=${service}`;
  return docker(host, 'ps', '--quiet', '--filter', filter);
}
