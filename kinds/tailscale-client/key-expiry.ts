// An unattended host drops off its tailnet when its node key expires. Pure.
import type { Concern } from '../kind.ts';

const DAY_MS = 86_400_000;

/**
 * The condition KeyExpiry. False is good: the key is valid for longer than `warningDays`, or for ever. True:
 * somebody has to renew it, soon or now. Unknown: tailscaled does not say.
 * @param keyExpiry RFC 3339; '' for a key that does not expire.
 */
export function keyExpiryConcern(keyExpiry: string, nowMs: number, warningDays: number): Concern {
  const type = 'KeyExpiry';
  if (keyExpiry === '') {
    return { type, status: 'False', reason: 'NeverExpires', message: 'the node key does not expire' };
  }
  const leftMs = Date.parse(keyExpiry) - nowMs;
  if (Number.isNaN(leftMs)) {
    return { type, status: 'Unknown', reason: 'Unreadable', message: `tailscaled says ${keyExpiry}` };
  }
  const days = Math.floor(leftMs / DAY_MS);
  if (leftMs <= 0) {
    const message = `the node key expired at ${keyExpiry}; log in again: tailscale up --force-reauth`;
    return { type, status: 'True', reason: 'Expired', message };
  }
  if (days < warningDays) {
    const message = `the node key expires in ${days} days, at ${keyExpiry}; renew it, or disable its expiry`;
    return { type, status: 'True', reason: 'ExpiresSoon', message };
  }
  return { type, status: 'False', reason: 'Valid', message: `the node key is valid until ${keyExpiry}` };
}
