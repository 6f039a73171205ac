// One fixture a kind, one line here.
import { alloyConfigFixture } from './alloy-config.fixture.ts';
import { aptRepositoryFixture } from './apt-repository.fixture.ts';
import { checkFixture } from './check.fixture.ts';
import { composeProjectFixture } from './compose-project.fixture.ts';
import { containerFixture } from './container.fixture.ts';
import { fileFixture } from './file.fixture.ts';
import type { Fixture } from './fixture.ts';
import { grafanaDashboardFixture } from './grafana-dashboard.fixture.ts';
import { grafanaDatasourceFixture } from './grafana-datasource.fixture.ts';
import { packageFixture } from './package.fixture.ts';
import { prometheusConfigFixture } from './prometheus-config.fixture.ts';
import { serviceFixture } from './service.fixture.ts';
import { tailnetPolicyFixture } from './tailnet-policy.fixture.ts';
import { tailscaleClientFixture } from './tailscale-client.fixture.ts';

export const fixtures: readonly Fixture[] = [
  fileFixture,
  checkFixture,
  composeProjectFixture,
  alloyConfigFixture,
  aptRepositoryFixture,
  packageFixture,
  containerFixture,
  grafanaDashboardFixture,
  grafanaDatasourceFixture,
  prometheusConfigFixture,
  serviceFixture,
  tailnetPolicyFixture,
  tailscaleClientFixture,
];
