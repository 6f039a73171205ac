// Fields that the schemas of several kinds share. Strict and without transforms, like all of them.
import * as z from 'zod';

export const AbsolutePath = z
  .string()
  .max(4096)
  .regex(
    /^\/(?!(?:.*\/)?\.{0,2}\/|.*\/\.\.?$|\.\.?$)[^\p{Cc}\p{Zl}\p{Zp}]*[^/\p{Cc}\p{Zl}\p{Zp}]$/su,
    'an absolute path of one line, without "." or ".." parts and without a slash at its end',
  );

/** Octal, as text: YAML would read 0644 as a number, and not as the one that is meant. */
export const Mode = z.string().regex(/^0?[0-7]{3,4}$/, 'a mode is written as text in octal, as "0644"');

export const Account = z
  .string()
  .regex(/^[a-z_][a-z0-9_-]*\$?$|^\d+$/, 'an account is a name, or a number as text');

/** systemd.unit(5), without templates that no instance is named of. */
export const UnitName = z
  .string()
  .max(255)
  .regex(
    /^[A-Za-z0-9:_.\\-]+(?:@[A-Za-z0-9:_.\\-]+)?\.(?:service|socket|timer|path|mount|target)$/,
    'a unit is named in full, as alloy.service or backup.timer',
  );

/** Who runs a unit: systemd, or the agent itself (demo and containers only). */
export const Manager = z.enum(['systemd', 'supervised']);

/** Host and port, as people write them for a client: 127.0.0.1:12345, [::1]:12345, alloy:12345. */
export const Address = z
  .string()
  .regex(
    /^(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$/,
    'an address is host:port, as 127.0.0.1:12345; an IPv6 address stands in brackets',
  );

/** moby's names.RestrictedNameChars; the suffixes that homeostat gives to what it keeps must fit as well. */
export const ContainerName = z
  .string()
  .max(100)
  .regex(
    /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/,
    'a container’s name has letters, digits, "_", "." and "-", begins with a letter or digit, and has at least two',
  );

/** distribution/reference, as people write it: [host[:port]/]path[:tag][@digest]. */
export const ImageReference = z
  .string()
  .regex(
    /^(?:[A-Za-z0-9.-]+(?::\d+)?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$/,
    'an image is named as grafana/alloy:v1.18.0, or by digest as grafana/alloy@sha256:…',
  );

export function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

const UNITS_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** As Prometheus writes them: 30s, 5m, 1h30m. */
export const Duration = z
  .string()
  .regex(/^(?:\d+(?:ms|s|m|h|d))+$/, 'a duration is a number with its unit, as 30s, 5m or 1h30m');

/** Milliseconds of a Duration. */
export function milliseconds(duration: string): number {
  const parts = duration.matchAll(/(\d+)(ms|s|m|h|d)/g);
  return [...parts].reduce(
    (sum, [, n, unit]) => sum + Number(n) * UNITS_MS[unit as keyof typeof UNITS_MS],
    0,
  );
}
