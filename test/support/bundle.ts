// Signed bundles and keys for tests; every key is made at run time.
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { type Payload, rawPublicKey, type SignedBundle, signEnvelope } from '../../api/bundle.ts';
import { sha256 } from '../../api/json.ts';

export interface TestKey {
  readonly privateKey: KeyObject;
  /** Base64 of the raw public key. */
  readonly publicKey: string;
}

export function testKey(): TestKey {
  const { privateKey } = generateKeyPairSync('ed25519');
  return { privateKey, publicKey: rawPublicKey(privateKey) };
}

export function payloadText(host: string, resources: Payload['resources'] = []): string {
  const payload: Payload = {
    apiVersion: 'homeostat.dev/v1',
    host: { name: host, labels: {}, mode: 'enforce', decommission: false, confirmRemovals: [] },
    resources,
  };
  return JSON.stringify(payload);
}

export function testBundle(options: {
  key: TestKey;
  host?: string;
  sequence?: number;
  payload?: string;
  withPayload?: boolean;
}): SignedBundle {
  const payload = options.payload ?? payloadText(options.host ?? 'pi');
  const signed = signEnvelope(
    {
      apiVersion: 'homeostat.dev/v1',
      host: options.host ?? 'pi',
      sequence: options.sequence ?? 1,
      commit: 'c0ffee',
      payloadDigest: sha256(payload),
      issuedAt: '2026-01-01T00:00:00.000Z',
    },
    options.key.privateKey,
  );
  return options.withPayload === false ? signed : { ...signed, payload };
}
