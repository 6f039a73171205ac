// The registry: every kind there is, one line each. Nothing is found by looking through folders.
import { alloyConfig } from './alloy-config/index.ts';
import { aptRepository } from './apt-repository/index.ts';
import { check } from './check/index.ts';
import { composeProject } from './compose-project/index.ts';
import { container } from './container/index.ts';
import { file } from './file/index.ts';
import { grafanaDashboard } from './grafana-dashboard/index.ts';
import { grafanaDatasource } from './grafana-datasource/index.ts';
import type { AnyKind } from './kind.ts';
import { packageKind } from './package/index.ts';
import { prometheusConfig } from './prometheus-config/index.ts';
import { service } from './service/index.ts';
import { tailnetPolicy } from './tailnet-policy/index.ts';
import { tailscaleClient } from './tailscale-client/index.ts';

const all: readonly AnyKind[] = [
  file,
  alloyConfig,
  check,
  composeProject,
  aptRepository,
  packageKind,
  container,
  grafanaDashboard,
  grafanaDatasource,
  prometheusConfig,
  service,
  tailnetPolicy,
  tailscaleClient,
];

export const kinds: ReadonlyMap<string, AnyKind> = new Map(all.map((kind) => [kind.kind, kind]));
