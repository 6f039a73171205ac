// Secrets of a promtail config stand nowhere in what is written, in whatever block Alloy's converter carries them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bareSecrets, requireBare, secretsOf, withoutSecrets } from '../../../cli/convert/secrets.ts';

const PROMTAIL = `clients:
  - url: https://me:SECRET-in-url@logs.example.net/loki/api/v1/push
    headers:
      Authorization: "Bearer SECRET-header"
      X-Scope-OrgID: homelab
  - url: https://backup.example.net/loki/api/v1/push
    basic_auth: {username: pi, password: SECRET-basic}
scrape_configs:
  - cloudflare: {api_token: SECRET-cloudflare, zone_id: 0123456789abcdef}
  - kafka:
      authentication:
        sasl_config: {user: promtail, password: SECRET-kafka}
  - consul_sd_configs: [{server: "127.0.0.1:8500", token: SECRET-consul}]
`;

/** As `alloy convert` and `alloy fmt` print these, from the references of the components. */
const CONVERTED = `loki.source.cloudflare "edge" {
	api_token = "SECRET-cloudflare"
	zone_id   = "0123456789abcdef"
}

loki.source.kafka "events" {
	authentication {
		type = "sasl"

		sasl_config {
			user     = "promtail"
			password = "SECRET-kafka"
		}
	}
}

discovery.consul "services" {
	server = "127.0.0.1:8500"
	token  = "SECRET-consul"
}

loki.write "default" {
	endpoint {
		url     = "https://me:SECRET-in-url@logs.example.net/loki/api/v1/push"
		headers = {
			Authorization  = "Bearer SECRET-header",
			"X-Scope-OrgID" = "homelab",
		}
	}
}

loki.write "default_2" {
	endpoint {
		url = "https://backup.example.net/loki/api/v1/push"

		basic_auth {
			username = "pi"
			password = "SECRET-basic"
		}
	}
}
`;

test('each secret is found with its line', () => {
  assert.deepEqual(
    secretsOf(PROMTAIL).map(({ value, line }) => `${line} ${value}`),
    [
      '2 SECRET-in-url',
      '4 Bearer SECRET-header',
      '7 SECRET-basic',
      '9 SECRET-cloudflare',
      '12 SECRET-kafka',
      '13 SECRET-consul',
    ],
  );
});

test('each secret is read from a file, in the way that its block takes', () => {
  const { text, moved } = bareSecrets(CONVERTED);
  assert.doesNotMatch(text, /SECRET/);
  assert.match(text, /\tapi_token = local\.file\.loki_source_cloudflare_edge_api_token\.content\n/);
  assert.match(text, /\tpassword = local\.file\.loki_source_kafka_events_password\.content\n/);
  assert.match(text, /\ttoken {2}= local\.file\.discovery_consul_services_token\.content\n/);
  assert.match(
    text,
    /Authorization {2}= convert\.nonsensitive\(local\.file\.loki_write_default_Authorization\.content\),\n/,
  );
  assert.match(text, /"X-Scope-OrgID" = "homelab"/);
  assert.match(text, /password_file = "\/etc\/alloy\/secrets\/loki-write-default-2-password"/);
  assert.match(text, /url {5}= "https:\/\/logs\.example\.net/);
  assert.equal(text.match(/is_secret = true/g)?.length, 4);
  assert.equal(moved.length, 6);
  requireBare(text, secretsOf(PROMTAIL), 'promtail.yaml');
});

test('what would still carry a secret is refused with its line, and no message quotes one', () => {
  const secrets = secretsOf(PROMTAIL);
  assert.throws(
    () => requireBare('x = "SECRET-kafka"', secrets, 'promtail.yaml'),
    /^Error: promtail\.yaml:12: the secret password would stand in config\.alloy/,
  );
  assert.equal(withoutSecrets('near "SECRET-consul"', secrets), 'near "[secret]"');
});
